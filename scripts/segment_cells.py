"""`python scripts/segment_cells.py [--config FILE] [key=value ...]`: the same as `hpa segment_cells`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("segment_cells")
