"""How the C library gives memory back to the system: for a stream of images of a megabyte, better not at all."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's ``malloc.h``."""
_KEPT = 1 << 28
_LARGEST = 1 << 25
"""Bytes; the most that glibc takes."""


def keep_freed_memory() -> None:
    """Let arrays up to 32 MiB come out of memory that this process has had before.

    By default glibc maps each of them anew, or gives the top of its heap back after each; then every page of every
    image is faulted in, which takes longer than everything that is done to it. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
