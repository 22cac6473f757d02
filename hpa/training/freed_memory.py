"""Freed memory that a process keeps: on the CPU, a network's activations are as large as they are short-lived."""

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of `mallopt`, as glibc's malloc.h numbers them."""

_MEGABYTE = 2**20


@cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, to use it again.

    By default glibc gives large blocks back to the system when they are freed, and each that is allocated next costs a
    page fault per 4 KB. From now on a process holds what it once needed until it ends.

    Returns:
        Whether it does; nothing is changed elsewhere than on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {_MMAP_THRESHOLD: 1024, _TRIM_THRESHOLD: 2047, _TOP_PAD: 64}
    taken = {name: mallopt(name, megabytes * _MEGABYTE) for name, megabytes in settings.items()}
    return all(taken.values())
