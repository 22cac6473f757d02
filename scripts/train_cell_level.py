"""`python scripts/train_cell_level.py [--config FILE] [key=value ...]`: the same as `hpa train_cell_level`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("train_cell_level")
