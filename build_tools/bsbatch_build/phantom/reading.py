"""Read a phantom set back; only the dialects of dialects.py are understood."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

Counts = NDArray[np.int64]
"""(rows, columns) counts."""

_LABELS = {
    "A": ("ANT", "Anterior", "Anterior projection", "FACE ANT", "WB_E", "WHOLE BODY_E"),
    "P": ("POST", "Posterior", "Posterior projection", "FACE POST", "WB_F", "WHOLE BODY_F"),
}
_SIDES = {label: side for side, labels in _LABELS.items() for label in labels}
_BACK = 360
"""Start angles of 0 and 360 degrees are at the patient's back."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledExamination:
    """Both views of an examination and its row of labels.csv."""

    study_uid: str
    positive: bool
    centre: str
    anterior: Counts
    posterior: Counts


def read_set(folder: Path) -> Iterator[LabelledExamination]:
    """Yield every labelled examination, in the order of labels.csv.

    Raises ValueError if ``folder`` is not a set made by write_set.
    """
    sources = _sources(folder)
    for row in _rows(folder / "labels.csv"):
        views: dict[str, Counts] = {}
        for path in sources[row["study_uid"]]:
            views |= read_views(path)
        positive = row["label"] == "1"
        yield LabelledExamination(row["study_uid"], positive, row["centre"], views["A"], views["P"])


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}. Give a folder made by bsbatch-build phantom.")
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _sources(folder: Path) -> dict[str, list[Path]]:
    sources: dict[str, list[Path]] = {}
    for row in _rows(folder / "expected.csv"):
        if row["status"] == "used":
            path = folder / "archive" / row["source"]
            header = dcmread(path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True)
            sources.setdefault(str(header.StudyInstanceUID), []).append(path)
    return sources


def read_views(path: Path) -> dict[str, Counts]:
    """Return the views of one object by side, A or P; a single frame without a label counts as A."""
    dataset = dcmread(path)
    frames = dataset.pixel_array
    stack = frames.reshape(-1, *frames.shape[-2:])
    sides = [_side(dataset, index) for index in range(len(stack))]
    return {side: frame.astype(np.int64) for side, frame in zip(sides, stack, strict=True)}


def _side(dataset: Dataset, index: int) -> str:
    for text in _texts(dataset, index):
        if text in _SIDES:
            return _SIDES[text]
    heads = dataset.get("DetectorInformationSequence") or []
    if index < len(heads) and "StartAngle" in heads[index]:
        return "P" if float(heads[index].StartAngle) % _BACK == 0 else "A"
    return "AP"[index]


def _texts(dataset: Dataset, index: int) -> Iterator[str]:
    heads = dataset.get("DetectorInformationSequence") or []
    if index < len(heads):
        for item in heads[index].get("ViewCodeSequence") or []:
            yield str(item.CodeMeaning)
    for value in (_value(dataset, Tag(0x0011, 0x1012)), _value(dataset, Tag("ViewPosition"))):
        values = [value] if isinstance(value, str) else value
        yield from map(str, values[index : index + 1])
    yield str(dataset.get("ImageID", ""))
    yield str(dataset.get("SeriesDescription", ""))


def _value(dataset: Dataset, tag: BaseTag) -> Sequence[str] | str:
    return dataset[tag].value or () if tag in dataset else ()
