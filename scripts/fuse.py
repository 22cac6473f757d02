"""`python scripts/fuse.py [--config FILE] [key=value ...]`: the same as `hpa fuse`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("fuse")
