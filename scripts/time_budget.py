"""`python scripts/time_budget.py [--config FILE] [key=value ...]`: the same as `hpa time_budget`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("time_budget")
