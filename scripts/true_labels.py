"""`python scripts/true_labels.py [--config FILE] [key=value ...]`: the same as `hpa true_labels`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("true_labels")
