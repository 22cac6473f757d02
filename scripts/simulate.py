"""`python scripts/simulate.py [--config FILE] [key=value ...]`: the same as `hpa simulate`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("simulate")
