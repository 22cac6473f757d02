"""`python scripts/run_pipeline.py [--config FILE] [key=value ...]`: the same as `hpa run_pipeline`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("run_pipeline")
