"""`python scripts/index.py [--config FILE] [key=value ...]`: the same as `hpa index`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("index")
