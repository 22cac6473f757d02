"""`python scripts/denoise.py [--config FILE] [key=value ...]`: the same as `hpa denoise`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("denoise")
