"""`python scripts/embed.py [--config FILE] [key=value ...]`: the same as `hpa embed`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("embed")
