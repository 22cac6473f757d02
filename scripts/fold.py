"""`python scripts/fold.py [--config FILE] [key=value ...]`: the same as `hpa fold`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("fold")
