"""Limits on what one file may make bsbatch read, inflate, decode and wait for; docs/tables.md lists them.

What an image may need follows from its own header, whose size ``--max-pixels`` limits. All else is a fixed allowance,
far above what sound objects have.
"""

import os

HEADER_VALUE = 1 << 18
"""Bytes of a value or sequence that is read of a header: twice the largest of sound files, a Modality LUT."""
HEADER_INFLATED = 1 << 24
"""Bytes that a deflated header may be inflated to."""
HEADER_READ = 1 << 26
"""Bytes that are read of a header. Most values are skipped unread."""
HEADER_CALLS = 1 << 17
"""Calls that read from a header: two or three for each element at any depth. pydicom makes them in 2 to 4 s."""
FRAMES = 4096
"""Frames of a whole-body object."""
SMALL_PIXELS, LARGE_PIXELS = 1 << 21, 1 << 24
"""Pixels of an object up to which it is read at any time, and those of larger objects that are read at once."""
FRAGMENTS = 1 << 16
"""Fragments of encapsulated pixel data, PS3.5 section A.4."""
WORKER_BYTES = 1 << 27
"""Resident memory above which a worker is replaced after a call: a decoder has lost some, or keeps it."""
MASK_PIXELS, MASK_BYTES = 1 << 23, 1 << 27
"""Pixels of one lesion mask; bytes of its file, inflated, and of the decoded frames of a DICOM Segmentation."""
LABEL_BYTES, LABEL_LINES = 1 << 25, 1 << 18
"""Bytes and lines of a label file."""
INFLATED_BYTES = 1 << 28
"""Bytes that one member or object of a container may be inflated to: far above the largest whole-body scan."""
INFLATED_FREE, INFLATED_RATIO = 1 << 26, 200
"""Bytes that are inflated whatever their ratio; beyond these, inflated bytes for each compressed one."""
INFLATED_MEMORY = 1 << 25
"""Bytes of an inflated member that are held in memory; a larger one goes to an unlinked temporary file."""
SPOOL_BYTES = 1 << 33
"""Bytes of members of compressed tars that are held in unlinked temporary files; at most half of the free space."""

_EXPANSION, _FRAGMENT_BYTES = 2, 1 << 20
"""Encapsulated pixel data in shares of native ones, and bytes beyond that. No encoder doubles an image."""
_DECODER_BYTES, _PIXEL_BYTES, _STACK_BYTES = 64 << 20, 16, 8 << 20
"""Memory of a decoder: fixed, for each pixel of an object, and for the stack of one thread on each processor."""


_DECODER_SECONDS, _PIXELS_PER_SECOND = 6.0, 5e6
"""Time of a decoder: fixed, and pixels that the slowest one decodes in a second, twice over."""


def encapsulated_bytes(native: int) -> int:
    """Bytes that encapsulated pixel data may have where native ones of the image have ``native``."""
    return _EXPANSION * native + _FRAGMENT_BYTES


def decoder_bytes(pixels: int) -> int:
    """Memory that the decoder of an object of so many pixels may allocate, bytes."""
    return _DECODER_BYTES + _PIXEL_BYTES * pixels + _STACK_BYTES * (os.cpu_count() or 1)


def decoder_seconds(pixels: int) -> float:
    """Time that a decoder may take for the frames of an object of so many pixels, seconds."""
    return _DECODER_SECONDS + pixels / _PIXELS_PER_SECOND
