"""`python scripts/check_submission.py FILE [--sample FILE]`: the same as `hpa check_submission`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("check_submission")
