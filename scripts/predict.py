"""`python scripts/predict.py [--config FILE] [key=value ...]`: the same as `hpa predict`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("predict")
