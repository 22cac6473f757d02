"""`python scripts/project.py [--config FILE] [key=value ...]`: the same as `hpa project`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("project")
