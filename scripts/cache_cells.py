"""`python scripts/cache_cells.py [--config FILE] [key=value ...]`: the same as `hpa cache_cells`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("cache_cells")
