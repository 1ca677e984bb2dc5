"""Lesion masks as DICOM Segmentation objects (PS3.3 A.51, C.8.20): binary, fractional and label maps."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian

from bsbatch.dicom.encoding import find_first_element
from bsbatch.dicom.part10 import open_deflated, open_file
from bsbatch.dicom.silence import silence_pydicom
from bsbatch.errors import ItemError, UsageError
from bsbatch.host import limits
from bsbatch.host.confinement import confined
from bsbatch.host.files import read_plain
from bsbatch.host.workers import Isolation
from bsbatch.reasons import Reason

_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""
_FIRST_BYTES = 8192
_HALF = 0.5
"""Smallest probability or occupancy of a pixel that belongs to a fractional segment."""

Labels = NDArray[np.int32]
Pixels = NDArray[np.integer | np.floating]
Items = Sequence[Dataset]


@dataclass(frozen=True, slots=True)
class ViewFrame:
    """Frame that shows a view."""

    sop_uid: str
    """(0008,0018) SOP Instance UID of its object."""
    frame: int
    """From 1."""


Views = tuple[ViewFrame, ViewFrame]
"""Anterior and posterior."""


def read_segmentations(paths: Iterable[Path], views: Views) -> list[Labels] | None:
    """Read the masks of an examination from the segmentations of its study.

    A frame names its view in (0008,9124) Derivation Image Sequence, (0008,2112) Source Image Sequence: (0008,1155)
    Referenced SOP Instance UID and (0008,1160) Referenced Frame Number (PS3.3 C.7.6.16.2.6). A frame without them
    belongs to the only object in (0008,1115) Referenced Series Sequence, which must contain one view. A segment's
    number, (0062,000B), identifies the lesion in both views.

    Pixels of a frame are those of the view's matrix as it is stored, regardless of the patient's orientation: planar
    views have no other geometry. So (0028,135A) Spatial Locations Preserved must not deny it. Fractional values are
    shares of (0062,000E) Maximum Fractional Value (PS3.3 C.8.20.2).

    Returns
    -------
    For each view ``(rows, columns)``, 0 outside lesions, else the segment's number. A view without a frame is
    ``(1, 1)`` of 0, because empty frames are often left out. None if nothing refers to the views.

    Raises
    ------
    UsageError
        A file is no segmentation, its pixels cannot be read, or it does not identify the view of a frame.
    """
    masks: list[Labels | None] = [None, None]
    for path in paths:
        for view, labels in _frames_of_views(path, views):
            masks[view] = labels if masks[view] is None else _merge(path, masks[view], labels)
    if all(mask is None for mask in masks):
        return None
    return [np.zeros((1, 1), np.int32) if mask is None else mask for mask in masks]


def _frames_of_views(path: Path, views: Views) -> Iterator[tuple[int, Labels]]:
    """Read the frames that belong to one of the views: index of the view, 0 or 1, and labels."""
    with silence_pydicom():
        dataset, frames = _read(path)
        for number, pixels in enumerate(frames):
            groups = _groups(dataset, number)
            view = _view_of(path, dataset, groups, views)
            if view is not None:
                yield view, _labels(path, dataset, groups, pixels)


def _read(path: Path) -> tuple[Dataset, Pixels]:
    """Read an object and its frames, ``(N, rows, columns)``."""
    try:
        dataset = _load(read_plain(path, limits.MASK_BYTES))
        is_segmentation = dataset.get("SOPClassUID") in _STORAGE
        frames = _decode(dataset) if is_segmentation else None
    except ItemError as error:
        raise UsageError(f"{path} cannot be read as DICOM ({error}): export the masks again") from error
    except Exception as error:  # pydicom and its decoders raise nearly everything
        raise UsageError(f"{path} cannot be read as DICOM ({type(error).__name__}): export the masks again") from error
    if frames is None:
        raise UsageError(f"{path} is no DICOM Segmentation: give SEG, PNG or NIfTI masks, no RTSTRUCT and no image")
    return dataset, frames if frames.ndim > 2 else frames[np.newaxis]  # noqa: PLR2004 - one frame has two axes


def _load(content: bytes) -> Dataset:
    """Read an object; a deflated one is inflated to `bsbatch.host.limits.MASK_BYTES` at most."""
    file = open_file(BytesIO(content), find_first_element(content[:_FIRST_BYTES]))
    if not file.is_deflated:
        return pydicom.dcmread(BytesIO(content))
    dataset = read_dataset(
        open_deflated(BytesIO(content), limits.MASK_BYTES), is_implicit_VR=False, is_little_endian=True
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _decode(dataset: Dataset) -> Pixels:
    """Decode the frames; if they are compressed, in a process of its own."""
    rows, columns, frames = int(dataset.Rows), int(dataset.Columns), int(dataset.get("NumberOfFrames") or 1)
    pixels, samples = rows * columns * frames, int(dataset.SamplesPerPixel)
    if pixels * samples * max(int(dataset.BitsAllocated) // 8, 1) > limits.MASK_BYTES:
        raise ItemError(Reason.TOO_LARGE, f"its frames have more than {limits.MASK_BYTES} bytes")
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return dataset.pixel_array
    with Isolation() as isolation:
        return isolation.call_within(
            limits.decoder_seconds(pixels), _decode_confined, dataset, limits.decoder_bytes(pixels)
        )


def _decode_confined(dataset: Dataset, memory: int) -> Pixels:
    with confined(memory):
        return dataset.pixel_array


def _groups(dataset: Dataset, number: int) -> Items:
    """Functional groups of a frame: its own, then those shared by all frames."""
    own, shared = dataset.get("PerFrameFunctionalGroupsSequence"), dataset.get("SharedFunctionalGroupsSequence")
    return (*(own[number : number + 1] if own else ()), *(shared[:1] if shared else ()))


def _view_of(path: Path, dataset: Dataset, groups: Items, views: Views) -> int | None:
    """Find the index of the view that a frame belongs to; None if it belongs to another image."""
    sources = list(_sources(groups)) or _only_object(path, dataset)
    matches = {
        index
        for source in sources
        for index, view in enumerate(views)
        if source.get("ReferencedSOPInstanceUID") == view.sop_uid and view.frame in _frames(source, view.frame)
    }
    if len(matches) > 1:
        raise UsageError(
            f"{path} does not identify the view of a frame: it needs (0008,1160) Referenced Frame Number in its "
            "(0008,2112) Source Image Sequence, or give PNG masks"
        )
    return next(iter(matches), None)


def _sources(groups: Items) -> Iterator[Dataset]:
    for group in groups:
        for derivation in group.get("DerivationImageSequence") or ():
            yield from derivation.get("SourceImageSequence") or ()


def _only_object(path: Path, dataset: Dataset) -> list[Dataset]:
    """Return the only object that the segmentation refers to, as a list of one."""
    series = dataset.get("ReferencedSeriesSequence") or ()
    objects = [item for one in series for item in one.get("ReferencedInstanceSequence") or ()]
    if len(objects) != 1:
        raise UsageError(
            f"{path} has a frame without (0008,9124) Derivation Image Sequence and refers to {len(objects)} objects: "
            "export it with references to the view of each frame, or give PNG masks"
        )
    return objects


def _frames(source: Dataset, default: int) -> list[int]:
    """Frame numbers of a reference, from 1; `default` if it has none, because it then refers to all frames."""
    value = source.get("ReferencedFrameNumber")
    if value in (None, ""):
        return [default]
    return [int(value)] if isinstance(value, (int, str)) else [int(number) for number in value]


def _labels(path: Path, dataset: Dataset, groups: Items, pixels: Pixels) -> Labels:
    if any(source.get("SpatialLocationsPreserved", "YES") != "YES" for source in _sources(groups)):
        raise UsageError(f"{path} is not drawn in the view's own matrix (Spatial Locations Preserved): resample it")
    kind = dataset.get("SegmentationType")
    if kind == "LABELMAP":
        return pixels.astype(np.int32)
    segments = next((group.SegmentIdentificationSequence for group in groups if _has_segment(group)), None)
    largest = 1 if kind == "BINARY" else dataset.get("MaximumFractionalValue")
    if not segments or not largest:
        raise UsageError(
            f"{path} does not identify the segment of a frame, or the meaning of its values: export it again"
        )
    number = int(segments[0].get("ReferencedSegmentNumber", 1))
    return np.where(pixels >= _HALF * int(largest), np.int32(number), np.int32(0))


def _has_segment(group: Dataset) -> bool:
    return bool(group.get("SegmentIdentificationSequence"))


def _merge(path: Path, first: Labels | None, second: Labels) -> Labels:
    if first is None or first.shape != second.shape:
        raise UsageError(f"{path} has another matrix than an earlier frame of the same view: export the masks again")
    return np.where(second > 0, second, first)
