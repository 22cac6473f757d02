"""`python scripts/score_submission.py --truth FILE --prediction FILE`: the same as `hpa score_submission`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("score_submission")
