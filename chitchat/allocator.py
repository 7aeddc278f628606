"""glibc's allocator told to keep what is freed.

Handing large blocks back to the system and taking page faults for the next ones costs a tenth of the time of talking, and half of
that of training a dual encoder (29,000 tokens a second became 65,000, one thread); the GPT-2s, whose step reuses its blocks when
compiled, lose nothing. Elsewhere than on glibc nothing happens.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4  # malloc.h
_LARGEST = 2**31 - 1


@cache
def keep_some_memory() -> None:
    """For talking: up to 128 MB of what is freed stays, in blocks of up to 32 MB."""
    _set({_M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 128 << 20})


@cache
def keep_all_memory() -> None:
    """For training, where every step wants the same large blocks again."""
    _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _LARGEST, _M_TOP_PAD: 64 << 20})


def _set(options: dict[int, int]) -> None:
    with suppress(AttributeError, OSError, TypeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in options.items():
            mallopt(parameter, value)
