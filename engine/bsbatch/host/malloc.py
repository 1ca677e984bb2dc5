"""How the C library gives memory back to the system: for a stream of images of a megabyte, better not at all."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""``M_TRIM_THRESHOLD``, ``M_MMAP_THRESHOLD`` and ``M_ARENA_MAX`` of glibc's ``malloc.h``."""
_KEPT = 1 << 28
_LARGEST = 1 << 25
"""Bytes; the most that glibc takes."""


def keep_freed_memory() -> None:
    """Let arrays up to 32 MiB come out of memory that this process has had before.

    By default glibc maps each of them anew, or gives the top of its heap back after each; then every page of every
    image is faulted in, which takes longer than everything that is done to it. It also gives each thread a heap of its
    own, in which what others need lies idle; one for all is as quick here, and comes about only where this is called
    before there is a second thread. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_ARENA_MAX, 1)
