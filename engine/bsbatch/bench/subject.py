"""The archive to measure on: the user's, or a synthetic one that lives as long as the measurement."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bsbatch.bench.settings import SYNTHETIC, Subject
from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan

_SEED = 1


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive on the disk."""

    folder: Path
    name: str
    """For people."""


@contextmanager
def open_archive(subject: Subject) -> Iterator[Archive]:
    """Yield the archive. A synthetic one holds clutter of a PACS beside the examinations (`bsbatch-build phantom`)."""
    if subject.archive is not None:
        yield Archive(subject.archive, str(subject.archive))
        return
    studies = subject.synthetic or SYNTHETIC
    with tempfile.TemporaryDirectory(prefix="bsbatch-bench-") as folder:
        write_set(Path(folder) / "set", SetPlan(studies, _SEED))
        yield Archive(Path(folder) / "set" / "archive", f"{studies} synthetic examinations and clutter (seed {_SEED})")
