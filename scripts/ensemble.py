"""`python scripts/ensemble.py [--config FILE] [key=value ...]`: the same as `hpa ensemble`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("ensemble")
