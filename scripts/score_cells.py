"""`python scripts/score_cells.py [--config FILE] [key=value ...]`: the same as `hpa score_cells`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("score_cells")
