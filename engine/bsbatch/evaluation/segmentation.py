"""Reads lesions out of DICOM Segmentation objects (PS3.3 A.51, C.8.20): binary, fractional, and label maps."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from bsbatch.errors import UsageError

_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""
_HALF = 0.5
"""From this probability or occupancy on a pixel belongs to a fractional segment."""

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class ViewFrame:
    """The frame that shows a view."""

    sop_uid: str
    """(0008,0018) SOP Instance UID of its object."""
    frame: int
    """From 1."""


Views = tuple[ViewFrame, ViewFrame]
"""Anterior and posterior."""


def read_segmentations(paths: Iterable[Path], views: Views) -> list[Labels] | None:
    """Read the masks of an examination out of all segmentations of its study.

    Which view a frame is drawn on stands in its (0008,9124) Derivation Image Sequence, (0008,2112) Source Image
    Sequence: (0008,1155) Referenced SOP Instance UID and (0008,1160) Referenced Frame Number (PS3.3 C.7.6.16.2.6).
    Where a frame has none, the object's (0008,1115) Referenced Series Sequence must name one object alone, and that
    object must hold one view. A segment's number, (0062,000B), names the lesion in both views.

    A frame is taken pixel for pixel for the view's matrix as it is stored, whatever the patient's orientation: planar
    views have no other geometry. So (0028,135A) Spatial Locations Preserved must not deny it. Fractional values are
    shares of (0062,000E) Maximum Fractional Value (PS3.3 C.8.20.2).

    Returns
    -------
    Of each view ``(rows, columns)``, 0 where no lesion is, else the segment's number; ``(1, 1)`` of 0 where a view has
    no frame, as empty ones are often left out. None where nothing refers to the views.

    Raises
    ------
    UsageError
        A file is no segmentation, its pixels cannot be read, or it does not say which view it is drawn on.
    """
    masks: list[Labels | None] = [None, None]
    for path in paths:
        for place, labels in _drawn(path, views):
            masks[place] = labels if masks[place] is None else _merged(path, masks[place], labels)
    if all(mask is None for mask in masks):
        return None
    return [np.zeros((1, 1), np.int32) if mask is None else mask for mask in masks]


def _drawn(path: Path, views: Views) -> Iterator[tuple[int, Labels]]:
    """For each frame that is drawn on one of the views: which, 0 or 1, and its labels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values, and those may name a patient
        dataset, frames = _read(path)
        for number, pixels in enumerate(frames):
            groups = _groups(dataset, number)
            place = _place(path, dataset, groups, views)
            if place is not None:
                yield place, _labels(path, dataset, groups, pixels)


def _read(path: Path) -> tuple[Any, NDArray[Any]]:
    """The object and its frames ``(N, rows, columns)``."""
    try:
        dataset = pydicom.dcmread(path)
        is_segmentation = dataset.get("SOPClassUID") in _STORAGE
        frames = dataset.pixel_array if is_segmentation else None
    except Exception as error:  # pydicom and its decoders raise nearly everything
        raise UsageError(f"{path} cannot be read as DICOM ({type(error).__name__}): export the masks again") from error
    if frames is None:
        raise UsageError(f"{path} is no DICOM Segmentation: give SEG, PNG or NIfTI masks, no RTSTRUCT and no image")
    return dataset, frames if frames.ndim > 2 else frames[np.newaxis]  # noqa: PLR2004 - one frame has two axes


def _groups(dataset: Any, number: int) -> tuple[Any, ...]:
    """The functional groups of a frame, its own before those that all frames share."""
    own, shared = dataset.get("PerFrameFunctionalGroupsSequence"), dataset.get("SharedFunctionalGroupsSequence")
    return (*(own[number : number + 1] if own else ()), *(shared[:1] if shared else ()))


def _place(path: Path, dataset: Any, groups: tuple[Any, ...], views: Views) -> int | None:
    """Which view a frame is drawn on; None where it is drawn on another image."""
    sources = list(_sources(groups)) or _only_object(path, dataset)
    found = {
        place
        for source in sources
        for place, view in enumerate(views)
        if source.get("ReferencedSOPInstanceUID") == view.sop_uid and view.frame in _frames(source, view.frame)
    }
    if len(found) > 1:
        raise UsageError(
            f"{path} does not say which view a frame is drawn on: it needs (0008,1160) Referenced Frame Number in its "
            "(0008,2112) Source Image Sequence, or give PNG masks"
        )
    return next(iter(found), None)


def _sources(groups: tuple[Any, ...]) -> Iterator[Any]:
    for group in groups:
        for derivation in group.get("DerivationImageSequence") or ():
            yield from derivation.get("SourceImageSequence") or ()


def _only_object(path: Path, dataset: Any) -> list[Any]:
    """What the object as a whole refers to, where that is one object."""
    series = dataset.get("ReferencedSeriesSequence") or ()
    objects = [item for one in series for item in one.get("ReferencedInstanceSequence") or ()]
    if len(objects) != 1:
        raise UsageError(
            f"{path} has a frame without (0008,9124) Derivation Image Sequence and refers to {len(objects)} objects: "
            "export it with references to the view of each frame, or give PNG masks"
        )
    return objects


def _frames(source: Any, otherwise: int) -> list[int]:
    """The frames that are referred to; without any it is all of them, the one that is looked for among them."""
    value = source.get("ReferencedFrameNumber")
    if value in (None, ""):
        return [otherwise]
    return [int(value)] if isinstance(value, (int, str)) else [int(number) for number in value]


def _labels(path: Path, dataset: Any, groups: tuple[Any, ...], pixels: NDArray[Any]) -> Labels:
    if any(source.get("SpatialLocationsPreserved", "YES") != "YES" for source in _sources(groups)):
        raise UsageError(f"{path} is not drawn in the view's own matrix (Spatial Locations Preserved): resample it")
    kind = dataset.get("SegmentationType")
    if kind == "LABELMAP":
        return pixels.astype(np.int32)
    identified = next((group.SegmentIdentificationSequence for group in groups if _is_named(group)), None)
    largest = 1 if kind == "BINARY" else dataset.get("MaximumFractionalValue")
    if not identified or not largest:
        raise UsageError(f"{path} does not say which segment a frame is of, or what its values mean: export it again")
    number = int(identified[0].get("ReferencedSegmentNumber", 1))
    return np.where(pixels >= _HALF * int(largest), np.int32(number), np.int32(0))


def _is_named(group: Any) -> bool:
    return bool(group.get("SegmentIdentificationSequence"))


def _merged(path: Path, first: Labels | None, second: Labels) -> Labels:
    if first is None or first.shape != second.shape:
        raise UsageError(f"{path} has another matrix than an earlier frame of the same view: export the masks again")
    return np.where(second > 0, second, first)
