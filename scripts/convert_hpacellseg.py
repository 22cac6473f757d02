"""`python scripts/convert_hpacellseg.py FILE OUT.safetensors`: the same as `hpa convert_hpacellseg`."""

from hpa.cli import run_stage

if __name__ == "__main__":
    run_stage("convert_hpacellseg")
