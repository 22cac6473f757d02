"""How much memory a process took."""

import resource
import sys


def peak_memory_gb() -> float:
    """Most resident memory so far of this process and of its largest finished or waited-for child, in 10^9 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    usage = [resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage) / 1e9
