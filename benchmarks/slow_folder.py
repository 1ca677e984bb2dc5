"""``python -m benchmarks.slow_folder``: headers of files that make their readers wait, as those of a network do.

A line for each waiting time has the headers a second that the intake of one driver reads and judges, and its processor
time for each of them, the listing included. The last line has the processor time that a driver would need to take in
the records of headers that other processes have read and judged.
"""

import argparse
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from benchmarks.clutter import write_clutter

from bsbatch.bench.stages import open_setup, time_skim
from bsbatch.config import Effort
from bsbatch.errors import ItemError
from bsbatch.host.workers import Isolation
from bsbatch.protocols import FilePart, Source
from bsbatch.records import ObjectRef
from bsbatch.run.assembly import make_intake
from bsbatch.run.setup import MAX_UNIT, RunSetup
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_WAITS = 0.0, 0.001, 0.005, 0.02
"""Seconds for each file: memory, a near network, a busy one, a far one."""
_LISTINGS = 8
"""Times that an archive is listed: threads need a while to see that files are slow."""


class SlowSource:
    """A folder whose files each make the thread that reads them wait, listed several times over."""

    def __init__(self, source: Source, seconds: float) -> None:
        self._source, self._seconds, self.heads_at_once = source, seconds, source.heads_at_once

    def __iter__(self) -> Iterator[ObjectRef]:
        for number in range(_LISTINGS):
            yield from (ref._replace(source=f"{number}/{ref.source}") for ref in self._source)

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Wait for each file, and read its first bytes."""
        for _ in refs if self._seconds else ():
            time.sleep(self._seconds)
        return self._source.heads(refs, count)

    def file(self, ref: ObjectRef) -> FilePart | None:
        """Find an object in a file."""
        return self._source.file(ref)

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open a file."""
        return self._source.open(ref)


def measure_intake(setup: RunSetup, seconds: float) -> str:
    """Return the line of a waiting time."""
    with time_skim(replace(setup, source=SlowSource(setup.source, seconds))) as take:
        busy, turn = time.process_time(), take()
        busy = time.process_time() - busy
    (wall,) = turn.seconds.values()
    rate = turn.items / wall
    return f"{1000 * seconds:4g} ms: {rate:8.0f} headers/s, {1e6 * busy / turn.items:4.0f} us of the driver's processor"


def measure_records(setup: RunSetup) -> str:
    """Return the line of records that other processes would send."""
    with Isolation() as isolation:
        units = list(make_intake(setup, Catalog(), Telemetry(), isolation).units(MAX_UNIT, None))
    objects = sum(len(unit.settled) for unit in units)
    sent = [pickle.dumps(unit, pickle.HIGHEST_PROTOCOL) for unit in units]
    busy = time.process_time()
    for data in sent:
        pickle.loads(data)
    busy = time.process_time() - busy
    size = sum(map(len, sent)) / objects
    return f"records: {size:.0f} bytes a header, {1e6 * busy / objects:.1f} us of the driver's processor"


def main() -> int:
    """Measure with a number of threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=None, help="as of bsbatch run")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        write_clutter(Path(folder), options.objects)
        with open_setup(Path(folder), effort=Effort(threads=options.threads)) as setup:
            for seconds in _WAITS:
                sys.stdout.write(f"{measure_intake(setup, seconds)}\n")
            sys.stdout.write(f"{measure_records(setup)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
