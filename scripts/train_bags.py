"""`python scripts/train_bags.py [--config FILE] [key=value ...]`: the same as `hpa train_bags`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("train_bags")
