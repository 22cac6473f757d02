import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from hpa.training.freed_memory import keep_freed_memory

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(8 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults(5)
kept = keep_freed_memory()
faults(1)
print(kept, faults(5) < before / 10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems keep memory in their own way")
def test_blocks_that_were_freed_are_used_again():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
