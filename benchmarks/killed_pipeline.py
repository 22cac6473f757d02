"""A pipeline that is killed at random points ends with the bytes of an unbroken one.

    python benchmarks/killed_pipeline.py [--kills 3] [--seed 0] [--keep DIR] [key=value ...]

`run_pipeline` once unbroken, whose seconds are printed, and once more with as many SIGKILLs to its whole process group,
at moments drawn evenly over the time that the unbroken one took; then the two submissions are compared byte by byte.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SUBMISSION = Path("submission") / "submission.csv"


def main() -> None:
    """Run, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--keep", type=Path, help="folder that keeps both pipelines")
    parser.add_argument("overrides", nargs="*", help="for both")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.keep or Path(temporary)
        unbroken, killed = work / "unbroken", work / "killed"
        start = time.monotonic()
        run(unbroken, arguments.overrides)
        seconds = time.monotonic() - start
        print(f"unbroken: {seconds:.0f} s", flush=True)
        source = random.Random(arguments.seed)
        moments = sorted(source.uniform(0, seconds) for _ in range(arguments.kills))
        for moment, before in zip(moments, [0.0, *moments], strict=False):
            last = run(killed, arguments.overrides, after=moment - before)
            print(f"killed after {moment:.0f} s of work, in: {last}", flush=True)
        run(killed, arguments.overrides)
        is_same = (unbroken / SUBMISSION).read_bytes() == (killed / SUBMISSION).read_bytes()
        print(f"submission of the killed one: {'the same bytes' if is_same else 'OTHER BYTES'}")
        sys.exit(0 if is_same else 1)


def run(out: Path, overrides: Sequence[str], after: float | None = None) -> str:
    """One call, killed after so many seconds; returns the step that it was in.

    Raises:
        RuntimeError: it failed by itself.
    """
    command = [sys.executable, "-m", "hpa.cli", "run_pipeline", f"out={out}", *overrides]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, words = process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, words = process.communicate()
    else:
        if process.returncode:
            raise RuntimeError(f"run_pipeline failed:\n{words[-2000:]}")
    steps = [line[3:] for line in words.splitlines() if line.startswith("-- ")]
    return steps[-1] if steps else "the start"


if __name__ == "__main__":
    main()
