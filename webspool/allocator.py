"""The C library's memory: what held a large body goes back to the system, and is not kept for each thread."""

from __future__ import annotations

import ctypes
from contextlib import suppress

LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3


def give_back_what_is_large() -> None:
    """Have buffers from 1 MiB on mapped by themselves, here and in the processes that are forked from this one.

    glibc begins so, and by itself raises the limit to 32 MiB once such a buffer has been freed: then each thread keeps
    the body that it had last (mallopt(3), M_MMAP_THRESHOLD). Another C library has its own ways.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
