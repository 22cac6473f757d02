"""`python scripts/describe.py [--config FILE] [key=value ...]`: the same as `hpa describe`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("describe")
