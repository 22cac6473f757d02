"""`python scripts/annotators.py [--config FILE] [key=value ...]`: the same as `hpa annotators`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("annotators")
