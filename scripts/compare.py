"""`python scripts/compare.py [--config FILE] [key=value ...]`: the same as `hpa compare`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("compare")
