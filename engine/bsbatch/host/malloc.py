"""Settings of glibc's malloc for a stream of images of about a megabyte each."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""``M_TRIM_THRESHOLD``, ``M_MMAP_THRESHOLD`` and ``M_ARENA_MAX`` of glibc's ``malloc.h``."""
_TRIM_BYTES = 1 << 28
_MMAP_BYTES = 1 << 25
"""The largest value that glibc accepts."""


def keep_freed_memory() -> None:
    """Make malloc reuse freed memory for arrays of up to 32 MiB, from one heap for all threads.

    By default glibc maps new memory for each such array, or returns the top of its heap to the system after each. Every
    page of every image then causes a page fault, which takes longer than processing the image. glibc also gives each
    thread its own heap, whose free memory the other threads cannot use; one heap is as fast here. The single heap
    requires that this is called before a second thread starts. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
        mallopt(_ARENA_MAX, 1)
