"""The archive that is measured on: the user's, or a synthetic one that lives as long as the measurement."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bsbatch.bench.settings import SYNTHETIC, Subject
from bsbatch.registry import Part

_SEED = 1
_PLAN, _WRITE = Part("bsbatch_build.phantom.plan:SetPlan"), Part("bsbatch_build.phantom.archive:write_set")
"""By name: the engine imports nothing of the build tools."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Where it lies and what it is called."""

    folder: Path
    name: str
    """For people."""


@contextmanager
def archive_of(subject: Subject) -> Iterator[Archive]:
    """Give the archive; synthetic examinations lie among what a PACS holds besides, as `bsbatch-build phantom` does."""
    if subject.archive is not None:
        yield Archive(subject.archive, str(subject.archive))
        return
    studies = subject.synthetic or SYNTHETIC
    with tempfile.TemporaryDirectory(prefix="bsbatch-bench-") as folder:
        _WRITE.load()(Path(folder) / "set", _PLAN.load()(studies, _SEED))
        yield Archive(Path(folder) / "set" / "archive", f"{studies} synthetic examinations and clutter (seed {_SEED})")
