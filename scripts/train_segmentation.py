"""`python scripts/train_segmentation.py [--config FILE] [key=value ...]`: the same as `hpa train_segmentation`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("train_segmentation")
