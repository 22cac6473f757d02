"""`python scripts/make_pseudo_labels.py [--config FILE] [key=value ...]`: the same as `hpa make_pseudo_labels`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("make_pseudo_labels")
