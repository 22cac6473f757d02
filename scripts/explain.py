"""`python scripts/explain.py [--config FILE] [key=value ...]`: the same as `hpa explain`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("explain")
