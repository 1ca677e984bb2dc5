"""An archive as arrays: read once through the engine's own stages into a cache, then mapped into memory."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch import protocols
from bsbatch.config import Selection
from bsbatch.errors import OutputError, UsageError
from bsbatch.evaluation.masks import read_lesions
from bsbatch.geometry import IMAGE_SHAPE, VIEW_ROWS
from bsbatch.host.files import flush, replace_text
from bsbatch.host.machine import usable_cpus
from bsbatch.host.workers import Isolation
from bsbatch.imaging import preprocess
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.pipeline.screening import Screening
from bsbatch.records import Inference, Outcome, Prediction
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

IMAGES, INDEX = "images.f16", "index.json"
GRID = 128
"""Rows and columns of a lesion mask: a cell is 4 x 4 pixels of the image."""
_BATCH, _UNIT = 8, 256
Images = NDArray[np.float16]
"""``(N, 512, 512)`` in [0, 1], a file mapped into memory; rounded to 11 bits, far below the noise of the counts."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the cache, or why there is none."""

    exam_id: str
    study_uid: str | None
    reason: str | None = None
    """Why the examination has no image; None where it has one."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The usable examinations of an archive."""

    images: Images
    entries: tuple[Entry, ...]
    """Of the same order as the images."""
    failed: tuple[Entry, ...]
    """Examinations without an image."""


def open_dataset(archive: Path, folder: Path, advance: Callable[[int], object] = lambda _: None) -> Dataset:
    """Map the cache of an archive into memory, and make it first where it is not there or of another state.

    Header, views, pairing and preprocessing are the engine's own.

    Parameters
    ----------
    archive
        Folder with DICOM files.
    folder
        Where the cache lies; 0.5 MiB for each examination.
    advance
        Told how many more examinations were read.

    Raises
    ------
    UsageError
        The archive holds no file, or no usable examination.
    OutputError
        The cache cannot be written.
    """
    source = DirectorySource(archive)
    state = _state_of(source)
    known = _read_index(folder)
    if known is None or known["state"] != state:
        try:
            _make(source, folder, state, advance)
        except OSError as error:
            raise OutputError.of(folder, error) from error
        known = _read_index(folder)
    return _mapped(folder, known or {})


def read_masks(folder: Path, study_uid: str) -> NDArray[np.uint8] | None:
    """Where the lesions of a study lie in the model's input.

    Parameters
    ----------
    folder
        Holds ``<study_uid>_anterior.png`` and ``<study_uid>_posterior.png``, 0 where no lesion is, of any size.

    Returns
    -------
    ``(128, 128) uint8``, 1 in the cells that a lesion touches; None where a view has no file.

    Raises
    ------
    UsageError
        A file is no image.
    """
    lesions = read_lesions(folder, study_uid)
    if lesions is None:
        return None
    cell = VIEW_ROWS // GRID
    return np.asarray(lesions.inside.reshape(GRID, cell, GRID, cell).any(axis=(1, 3)), np.uint8)


def _state_of(source: DirectorySource) -> str:
    """A digest of what the archive holds and of how it is preprocessed."""
    digest = hashlib.sha256(f"{preprocess.VERSION}".encode())
    for ref in source:
        digest.update(f"{ref.source}\0{ref.size}\0{ref.mtime_ns}\n".encode())
    return digest.hexdigest()


def _read_index(folder: Path) -> dict[str, object] | None:
    try:
        index: dict[str, object] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, or cut off by a kill: made anew
        return None
    return index


def _make(source: DirectorySource, folder: Path, state: str, advance: Callable[[int], object]) -> None:
    """Write the images, then the index, which makes them count."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    with (folder / IMAGES).open("wb") as stream:
        entries = list(_read_all(source, stream, advance))
    index = {"state": state, "entries": [asdict(entry) for entry in entries]}
    flush(folder / IMAGES)
    replace_text(folder / INDEX, json.dumps(index))


def _read_all(source: DirectorySource, stream: BinaryIO, advance: Callable[[int], object]) -> Iterator[Entry]:
    telemetry, threads = Telemetry(), usable_cpus()
    intake = Intake(source, Selection(), Catalog(), None, telemetry, threads)

    def tell(outcomes: Iterable[Outcome]) -> None:
        advance(len(list(outcomes)))

    with Isolation() as isolation:
        screening = Screening(Preparation(source, telemetry, isolation), _Recorder(stream), threads, tell)
        for outcome in screening.execute(intake.units(_UNIT, None)):
            yield from map(_entry, outcome.outcomes)


def _entry(outcome: Outcome) -> Entry:
    exam = outcome.exam
    reason = None if isinstance(outcome, Prediction) else str(outcome.verdict.reason)
    return Entry(exam.exam_id, exam.scans[0].header.study_uid, reason)


class _Recorder:
    """A backend that keeps what it is shown; every sample reaches it once, in the order of the outcomes."""

    precision = "none"
    batch_size = _BATCH
    lanes = 1

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back."""

    def infer(self, images: protocols.Images) -> Inference:
        """Append ``(N, 1, 512, 512)`` images to the file."""
        self._stream.write(np.asarray(images, np.float16).tobytes())
        return Inference(np.zeros((len(images), 2), np.float32))


def _mapped(folder: Path, index: dict[str, object]) -> Dataset:
    rows = index["entries"]
    if not isinstance(rows, list):
        raise UsageError(f"{folder} holds no cache of this bsbatch-build: delete it and start again")
    entries = [Entry(**row) for row in rows]
    usable = tuple(entry for entry in entries if entry.reason is None)
    if not usable:
        raise UsageError(f"the archive holds no usable examination ({len(entries)} failed): see bsbatch run --dry-run")
    images = np.memmap(folder / IMAGES, np.float16, "r", shape=(len(usable), *IMAGE_SHAPE))
    return Dataset(images, usable, tuple(entry for entry in entries if entry.reason is not None))
