"""`python scripts/search.py [--config FILE] [key=value ...]`: the same as `hpa search`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("search")
