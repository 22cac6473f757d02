"""`python scripts/write_truth.py [--config FILE] [key=value ...]`: the same as `hpa write_truth`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("write_truth")
