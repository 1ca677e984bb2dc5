"""An archive as arrays: preprocessed once by the engine's own stages, cached, mapped into memory."""

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


@dataclass(frozen=True, slots=True)
class CachedExam:
    """An examination of the archive, with or without an image in the cache."""

    exam_id: str
    study_uid: str | None
    reason: str | None = None
    """Reason code of an examination without an image, else None."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The usable examinations of an archive."""

    images: NDArray[np.float16]
    """``(N, 512, 512)`` in [0, 1], a file mapped into memory; 11 significant bits, far below the counting noise."""
    exams: tuple[CachedExam, ...]
    """In the order of the images."""
    failed: tuple[CachedExam, ...]
    """Examinations without an image."""


def open_dataset(archive: Path, folder: Path, advance: Callable[[int], object] = lambda _: None) -> Dataset:
    """Map the cache of an archive into memory; write it first if it is missing or the archive has changed.

    The engine's own code reads headers, finds views, pairs and preprocesses.

    Parameters
    ----------
    archive
        Folder with DICOM files.
    folder
        Folder of the cache; 0.5 MiB for each examination.
    advance
        Called with the number of examinations read since the last call.

    Raises
    ------
    UsageError
        The archive holds no file or no usable examination.
    OutputError
        The cache cannot be written.
    """
    source = DirectorySource(archive)
    state = _digest_of(source)
    index = _read_index(folder)
    if index is None or index["state"] != state:
        try:
            _write_cache(source, folder, state, advance)
        except OSError as error:
            raise OutputError.of(folder, error) from error
        index = _read_index(folder)
    return _map_cache(folder, index or {})


def read_masks(folder: Path, study_uid: str) -> NDArray[np.uint8] | None:
    """Read the lesion masks of a study on the grid of the model's input.

    Parameters
    ----------
    folder
        Holds ``<study_uid>_anterior.png`` and ``<study_uid>_posterior.png`` of any size; 0 is background.

    Returns
    -------
    ``(128, 128) uint8``, 1 in the cells that a lesion touches; None if a view has no file.

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


def _digest_of(source: DirectorySource) -> str:
    """Hash names, sizes and versions of the archive's files, and the version of the preprocessing."""
    digest = hashlib.sha256(f"{preprocess.VERSION}".encode())
    for ref in source:
        digest.update(f"{ref.source}\0{ref.size}\0{ref.version}\n".encode())
    return digest.hexdigest()


def _read_index(folder: Path) -> dict[str, object] | None:
    try:
        index: dict[str, object] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # missing, or truncated by a kill: written anew
        return None
    return index


def _write_cache(source: DirectorySource, folder: Path, state: str, advance: Callable[[int], object]) -> None:
    """Write the images, then the index; without an index the images are ignored."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    with (folder / IMAGES).open("wb") as stream:
        exams = list(_read_all(source, stream, advance))
    index = {"state": state, "entries": [asdict(exam) for exam in exams]}
    flush(folder / IMAGES)
    replace_text(folder / INDEX, json.dumps(index))


def _read_all(source: DirectorySource, stream: BinaryIO, advance: Callable[[int], object]) -> Iterator[CachedExam]:
    telemetry, threads = Telemetry(), usable_cpus()

    def count(outcomes: Iterable[Outcome]) -> None:
        advance(len(list(outcomes)))

    with Isolation() as isolation:
        intake = Intake(source, Selection(), Catalog(), telemetry, isolation, threads, holds_all=True)
        screening = Screening(Preparation(source, telemetry, isolation), _ImageWriter(stream), threads, count)
        for outcome in screening.execute(intake.units(_UNIT, None)):
            yield from map(_exam_of, outcome.outcomes)


def _exam_of(outcome: Outcome) -> CachedExam:
    exam = outcome.exam
    reason = None if isinstance(outcome, Prediction) else str(outcome.verdict.reason)
    return CachedExam(exam.exam_id, exam.scans[0].header.study_uid, reason)


class _ImageWriter:
    """A backend that writes its input to a file; it receives each sample once, in the order of the outcomes."""

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
        """Release nothing."""

    def infer(self, images: protocols.Images) -> Inference:
        """Append ``(N, 1, 512, 512)`` images to the file."""
        self._stream.write(np.asarray(images, np.float16).tobytes())
        return Inference(np.zeros((len(images), 2), np.float32))


def _map_cache(folder: Path, index: dict[str, object]) -> Dataset:
    rows = index["entries"]
    if not isinstance(rows, list):
        raise UsageError(f"{folder} holds no cache of this bsbatch-build: delete it and start again")
    exams = [CachedExam(**row) for row in rows]
    usable = tuple(exam for exam in exams if exam.reason is None)
    if not usable:
        raise UsageError(f"the archive holds no usable examination ({len(exams)} failed): see bsbatch run --dry-run")
    images = np.memmap(folder / IMAGES, np.float16, "r", shape=(len(usable), *IMAGE_SHAPE))
    return Dataset(images, usable, tuple(exam for exam in exams if exam.reason is not None))
