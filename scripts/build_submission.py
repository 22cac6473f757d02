"""`python scripts/build_submission.py [--config FILE] [key=value ...]`: the same as `hpa build_submission`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("build_submission")
