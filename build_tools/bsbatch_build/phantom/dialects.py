"""Whole-body examinations as DICOM objects in the dialects of six archives.

Every dialect is a valid NM object except for the defect that it imitates: ge_old_single is a
Secondary Capture object with Modality NM; emptied lacks its SOP class and vectors. docs/phantoms.md
describes the imitated files.
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
"""Index of a view in PhantomScan.views."""

_ANGLE_OF = (180, 0)
"""(0054,0200) Start Angle: 0 degrees is at the patient's back (PS3.3 C.8.4.11)."""

_GENIE = "GEMS_GENIE_1"
_DATASET_NAME, _PICTURE_NAME = 0x12, 0x30
"""Elements of group 0011 that hold a view label."""

_LEAST_SPREAD = 255


@dataclass(frozen=True, slots=True, eq=False)
class PhantomScan:
    """Two views and the values of their headers."""

    origin: Origin
    views: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    """Anterior, posterior; (rows, columns) counts."""
    order: tuple[int, int]
    """Views in the order of frames or files."""
    variant: int
    """0 to 3; selects one of the variants that a vendor uses."""

    def stack_views(self, *views: int) -> NDArray[np.uint16]:
        """Stack the given views into frames (n, rows, columns)."""
        return np.stack([self.views[view] for view in views])


def build_datasets(dialect: Dialect, scan: PhantomScan) -> list[Dataset]:
    """Build the DICOM objects of one examination."""
    return _WRITERS[dialect](scan)


def _label_views(dataset: Dataset, labels: list[str]) -> None:
    block = dataset.private_block(0x0011, _GENIE, create=True)
    value = labels if len(labels) > 1 else labels[0]
    block.add_new(_DATASET_NAME, "LO", value)
    block.add_new(_PICTURE_NAME, "LO", value)


def _two_frames(scan: PhantomScan, pixels: Pixels, names: tuple[str, str]) -> Dataset:
    study, series = names
    instance = Instance("whole body", 1, study, series)
    return whole_body(scan.origin, instance, pixels)


def ge_two_frame(scan: PhantomScan) -> list[Dataset]:
    """Discovery 670: labels in private elements, empty InstanceNumber, an implausible frame duration."""
    pixels = scan.stack_views(*scan.order)
    dataset = _two_frames(scan, pixels, ("Bone Scan Tc99m", "WholeBody"))
    heads = [detector(_ANGLE_OF[view]) for view in scan.order]
    add_detectors(dataset, heads, len(heads))
    dataset.InstanceNumber = ""
    dataset.BodyPartExamined = "CHEST"
    dataset.ActualFrameDuration = "90000"
    _label_views(dataset, [("ANT", "POST")[view] for view in scan.order])
    return [dataset]


def siemens_two_frame(scan: PhantomScan) -> list[Dataset]:
    """Symbia: start angles 180 and 360, with local view codes or labels that end in _E and _F.

    Real objects also carry an empty View Code Sequence. It makes an NM object invalid and is left out.
    """
    pixels = scan.stack_views(*scan.order)
    dataset = _two_frames(scan, pixels, ("Skelett^Ganzkoerper", "WB"))
    heads = []
    for view in scan.order:
        head = detector((180, 360)[view])
        if scan.variant == 0:
            meaning = ("FACE ANT", "FACE POST")[view]
            head.ViewCodeSequence = Items([code(("ANT", "POST")[view], "99NMG", meaning)])
        heads.append(head)
    add_detectors(dataset, heads, len(heads))
    if scan.variant > 1:
        _label_views(dataset, [("WB_E", "WB_F")[view] for view in scan.order])
    return [dataset]


def ge_old_single(scan: PhantomScan) -> list[Dataset]:
    """Millennium MG: one signed Secondary Capture object per view, distinguished by ImageID."""
    datasets = []
    for number, view in enumerate(scan.order, start=1):
        pixels = scan.stack_views(view).astype(np.int16)
        instance = Instance("whole body", number, "Whole Body Bone", "")
        dataset = whole_body(scan.origin, instance, pixels)
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


def separate_series(scan: PhantomScan) -> list[Dataset]:
    """One series per view, named ANT or POST; sometimes without a common frame of reference."""
    datasets = []
    for view in scan.order:
        name = ("ANT", "POST")[view]
        instance = Instance(name, 1, "Whole Body Bone", name)
        dataset = whole_body(scan.origin, instance, scan.stack_views(view))
        add_detectors(dataset, [detector(_ANGLE_OF[view])], 1)
        if scan.variant % 2:
            del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
        if scan.variant > 1:
            del dataset.DetectorInformationSequence[0].StartAngle
        datasets.append(dataset)
    return datasets


_STANDARD = (
    ("399321004", "SCT", "Anterior projection"),
    ("399001007", "SCT", "Posterior projection"),
)
_RETIRED = (("G-5215", "SRT", "Anterior"), ("G-5216", "SRT", "Posterior"))
"""PS3.16 CID 26: the current SNOMED CT codes and the retired SRT codes."""


def standard_codes(scan: PhantomScan) -> list[Dataset]:
    """Objects as in the standard: a View Code Sequence from CID 26 in each detector."""
    pixels = scan.stack_views(*scan.order)
    dataset = _two_frames(scan, pixels, ("Bone scan whole body", "Whole body delayed"))
    codes = _RETIRED if scan.variant == 0 else _STANDARD
    heads = []
    for view in scan.order:
        head = detector(_ANGLE_OF[view])
        head.ViewCodeSequence = Items([code(*codes[view])])
        heads.append(head)
    add_detectors(dataset, heads, len(heads))
    return [dataset]


def bare_export(scan: PhantomScan) -> list[Dataset]:
    """A rewritten export: values up to 255, no SOP class, image type or vectors, local view labels."""
    saturated = np.minimum(scan.stack_views(*scan.order), _LEAST_SPREAD)
    dataset = _two_frames(scan, saturated, ("", ""))
    heads = []
    for view in scan.order:
        head = detector(None)
        if scan.variant != 1:
            head.ViewCodeSequence = Items([code(("AN", "PO")[view], "99LOCAL", ("Anterior", "Posterior")[view])])
        heads.append(head)
    add_detectors(dataset, heads, len(heads))
    if scan.variant:
        positions = [("Anterior", "Posterior")[view] for view in scan.order]
        dataset.add(_invalid_element("ViewPosition", "CS", positions))
    for keyword in ("SOPClassUID", "ImageType", "DetectorVector", "FrameIncrementPointer"):
        delattr(dataset, keyword)
    return [dataset]


def _invalid_element(keyword: str, vr: str, value: list[str]) -> DataElement:
    """Build an element that violates its value representation, as in real files."""
    return DataElement(Tag(keyword), vr, value, validation_mode=config.IGNORE)


_WRITERS: dict[Dialect, Callable[[PhantomScan], list[Dataset]]] = {
    Dialect.GE_TWO_FRAME: ge_two_frame,
    Dialect.SIEMENS_TWO_FRAME: siemens_two_frame,
    Dialect.GE_OLD_SINGLE: ge_old_single,
    Dialect.SEPARATE_SERIES: separate_series,
    Dialect.STANDARD_CODES: standard_codes,
    Dialect.EMPTIED: bare_export,
}
