"""Takes from a worker what a decoder does not need: memory beyond a limit, files to write, and core dumps."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")
_DATA = 5
"""Position of data and stacks among the numbers of ``/proc/self/statm``, in pages (proc(5))."""


@contextmanager
def confined(memory: int) -> Iterator[None]:
    """Let this process allocate at most ``memory`` further bytes, and for ever write neither files nor core dumps.

    `resource.RLIMIT_DATA` counts memory that is written to. `resource.RLIMIT_AS` would count addresses, of which each
    thread of a decoder reserves 64 MiB. Beyond the limit a decoder raises `MemoryError` or crashes.
    """
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (_limit(memory), before) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits, default=resource.RLIM_INFINITY), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def _limit(memory: int) -> int:
    """Data of this process and ``memory``, bytes; no limit where the system has no account of it."""
    try:
        return int(_STATM.read_text().split()[_DATA]) * resource.getpagesize() + memory
    except OSError:  # not Linux
        return resource.RLIM_INFINITY
