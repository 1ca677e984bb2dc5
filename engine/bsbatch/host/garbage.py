"""Python's search for reference cycles, made rarer while records without cycles stream through."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEW_OBJECTS = 10_000
"""New containers after which the youngest are searched; by default 700, which a dozen scans have."""


@contextmanager
def collect_rarely() -> Iterator[None]:
    """Search for reference cycles in a block only after many new objects.

    A run makes millions of tuples, which live for seconds and free themselves. To search them time and again takes a
    tenth of the interpreter's time.
    """
    before = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
