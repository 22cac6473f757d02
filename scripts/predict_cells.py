"""`python scripts/predict_cells.py [--config FILE] [key=value ...]`: the same as `hpa predict_cells`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("predict_cells")
