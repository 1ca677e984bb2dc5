"""Whole-body examinations as six vendors' archives write them down.

Every dialect is a valid NM object but for the defect that it imitates: ge_old_single is a Secondary
Capture object that calls itself NM, emptied lacks its SOP class and vectors. The real files behind
them are those of docs/phantoms.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import SecondaryCaptureImageStorage

from bsbatch_build.phantom.centres import Dialect
from bsbatch_build.phantom.headers import (
    Instance,
    Origin,
    Pixels,
    add_detectors,
    code,
    detector,
    whole_body,
)

ANTERIOR, POSTERIOR = 0, 1
"""Index of a view in Examination.views."""

_ANGLE_OF = (180, 0)
"""(0054,0200) Start Angle: 0 degrees is at the patient's back (PS3.3 C.8.4.11)."""

_GENIE = "GEMS_GENIE_1"
_DATASET_NAME, _PICTURE_NAME = 0x12, 0x30
"""Elements of group 0011 that hold a view label."""

_LEAST_SPREAD = 255


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """Two views and all that a header says about them."""

    origin: Origin
    views: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    """Anterior, posterior; (rows, columns) counts."""
    order: tuple[int, int]
    """Views in the order of frames or files."""
    variant: int
    """0 to 3; picks among the forms that one vendor uses."""

    def stacked(self, *views: int) -> NDArray[np.uint16]:
        """Frames (n, rows, columns) of the views named."""
        return np.stack([self.views[view] for view in views])


def write_down(dialect: Dialect, examination: Examination) -> list[Dataset]:
    """The DICOM objects of one examination."""
    return _WRITERS[dialect](examination)


def _label_views(dataset: Dataset, labels: list[str]) -> None:
    block = dataset.private_block(0x0011, _GENIE, create=True)
    value = labels if len(labels) > 1 else labels[0]
    block.add_new(_DATASET_NAME, "LO", value)
    block.add_new(_PICTURE_NAME, "LO", value)


def _two_frames(examination: Examination, pixels: Pixels, names: tuple[str, str]) -> Dataset:
    study, series = names
    instance = Instance("whole body", 1, study, series)
    return whole_body(examination.origin, instance, pixels)


def ge_two_frame(examination: Examination) -> list[Dataset]:
    """Discovery 670: labels in private elements, empty InstanceNumber, a useless frame duration."""
    pixels = examination.stacked(*examination.order)
    dataset = _two_frames(examination, pixels, ("Bone Scan Tc99m", "WholeBody"))
    heads = [detector(_ANGLE_OF[view]) for view in examination.order]
    add_detectors(dataset, heads, len(heads))
    dataset.InstanceNumber = ""
    dataset.BodyPartExamined = "CHEST"
    dataset.ActualFrameDuration = "90000"
    _label_views(dataset, [("ANT", "POST")[view] for view in examination.order])
    return [dataset]


def siemens_two_frame(examination: Examination) -> list[Dataset]:
    """Symbia: start angles 180 and 360, with local view codes or labels that end in _E and _F.

    Real ones also carry an empty View Code Sequence, which is no valid NM object and left out here.
    """
    pixels = examination.stacked(*examination.order)
    dataset = _two_frames(examination, pixels, ("Skelett^Ganzkoerper", "WB"))
    heads = []
    for view in examination.order:
        head = detector((180, 360)[view])
        if examination.variant == 0:
            meaning = ("FACE ANT", "FACE POST")[view]
            head.ViewCodeSequence = Items([code(("ANT", "POST")[view], "99NMG", meaning)])
        heads.append(head)
    add_detectors(dataset, heads, len(heads))
    if examination.variant > 1:
        _label_views(dataset, [("WB_E", "WB_F")[view] for view in examination.order])
    return [dataset]


def ge_old_single(examination: Examination) -> list[Dataset]:
    """Millennium MG: one signed Secondary Capture object a view, told apart by ImageID."""
    datasets = []
    for number, view in enumerate(examination.order, start=1):
        pixels = examination.stacked(view).astype(np.int16)
        instance = Instance("whole body", number, "Whole Body Bone", "")
        dataset = whole_body(examination.origin, instance, pixels)
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.ConversionType = "WSD"
        dataset.BodyPartExamined = "WHOLE BODY"
        head = detector(None)
        add_detectors(dataset, [head], 1)
        label = ("WHOLE BODY_E", "WHOLE BODY_F")[view]
        dataset.ImageID = label
        _label_views(dataset, [label])
        datasets.append(dataset)
    return datasets


def separate_series(examination: Examination) -> list[Dataset]:
    """One series a view, named ANT or POST; sometimes without a frame of reference in common."""
    datasets = []
    for view in examination.order:
        name = ("ANT", "POST")[view]
        instance = Instance(name, 1, "Whole Body Bone", name)
        dataset = whole_body(examination.origin, instance, examination.stacked(view))
        add_detectors(dataset, [detector(_ANGLE_OF[view])], 1)
        if examination.variant % 2:
            del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
        if examination.variant > 1:
            del dataset.DetectorInformationSequence[0].StartAngle
        datasets.append(dataset)
    return datasets


_STANDARD = (
    ("399321004", "SCT", "Anterior projection"),
    ("399001007", "SCT", "Posterior projection"),
)
_RETIRED = (("G-5215", "SRT", "Anterior"), ("G-5216", "SRT", "Posterior"))
"""PS3.16 CID 26, as it is and as it was before SNOMED CT."""


def standard_codes(examination: Examination) -> list[Dataset]:
    """What the standard asks for: a View Code Sequence from CID 26 in each detector."""
    pixels = examination.stacked(*examination.order)
    dataset = _two_frames(examination, pixels, ("Bone scan whole body", "Whole body delayed"))
    codes = _RETIRED if examination.variant == 0 else _STANDARD
    heads = []
    for view in examination.order:
        head = detector(_ANGLE_OF[view])
        head.ViewCodeSequence = Items([code(*codes[view])])
        heads.append(head)
    add_detectors(dataset, heads, len(heads))
    return [dataset]


def emptied(examination: Examination) -> list[Dataset]:
    """A rewritten export: 8-bit values, SOP class, image type and vectors lost, local view labels."""
    saturated = np.minimum(examination.stacked(*examination.order), _LEAST_SPREAD)
    dataset = _two_frames(examination, saturated, ("", ""))
    heads = []
    for view in examination.order:
        head = detector(None)
        if examination.variant != 1:
            head.ViewCodeSequence = Items([code(("AN", "PO")[view], "99LOCAL", ("Anterior", "Posterior")[view])])
        heads.append(head)
    add_detectors(dataset, heads, len(heads))
    if examination.variant:
        positions = [("Anterior", "Posterior")[view] for view in examination.order]
        dataset.add(_unchecked("ViewPosition", "CS", positions))
    for keyword in ("SOPClassUID", "ImageType", "DetectorVector", "FrameIncrementPointer"):
        delattr(dataset, keyword)
    return [dataset]


def _unchecked(keyword: str, vr: str, value: list[str]) -> DataElement:
    """An element that breaks its value representation, as real files do."""
    return DataElement(Tag(keyword), vr, value, validation_mode=config.IGNORE)


_WRITERS: dict[Dialect, Callable[[Examination], list[Dataset]]] = {
    Dialect.GE_TWO_FRAME: ge_two_frame,
    Dialect.SIEMENS_TWO_FRAME: siemens_two_frame,
    Dialect.GE_OLD_SINGLE: ge_old_single,
    Dialect.SEPARATE_SERIES: separate_series,
    Dialect.STANDARD_CODES: standard_codes,
    Dialect.EMPTIED: emptied,
}
