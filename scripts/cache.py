"""`python scripts/cache.py [--config FILE] [key=value ...]`: the same as `hpa cache`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("cache")
