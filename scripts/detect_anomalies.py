"""`python scripts/detect_anomalies.py [--config FILE] [key=value ...]`: the same as `hpa detect_anomalies`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("detect_anomalies")
