import platform
import resource

import numpy as np
import pytest

from hpa.training.freed_memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems keep memory in their own way")
def test_blocks_that_were_freed_are_used_again():
    assert keep_freed_memory()
    np.ones(8 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones(8 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 5 * 64 * 2**20 / 4096 / 10, "as many pages as were written, where every block is a new one"
