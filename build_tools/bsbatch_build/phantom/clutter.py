"""Which clutter lies beside which study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from numpy.random import Generator

from bsbatch_build.phantom import clutter_nm, clutter_other
from bsbatch_build.phantom.dialects import Examination
from bsbatch_build.phantom.entries import Entry, Outcome, Status

ROUND = 40
"""Every kind of clutter lies beside the first of each 40 studies."""

Maker = Callable[[Examination, Generator], list[bytes]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of clutter."""

    name: str
    make: Maker
    outcome: Outcome
    rate: float = 0.0
    """Share of the other studies that have it."""
    file_name: str = ""


def _one(make: Callable[[Examination, Generator], bytes], examination: Examination, rng: Generator) -> list[bytes]:
    return [make(examination, rng)]


def _skipped(reason: str) -> Outcome:
    return Outcome(Status.SKIPPED, reason)


def _failed(reason: str) -> Outcome:
    return Outcome(Status.FAILED, reason)


_OTHER, _CAPTURE = _skipped("modality_not_nm"), _skipped("sc_display_capture")
_DOCUMENT, _NOT_DICOM = _skipped("structured_report_or_pdf"), _skipped("not_dicom")
_NOT_WHOLE_BODY = _skipped("not_whole_body")

COMPANIONS = (
    Kind("ct_slice", clutter_other.ct_slices, _OTHER, 0.08),
    Kind("truncated_ct", clutter_other.truncated_ct, _OTHER),
    Kind("rt_structure_set", clutter_other.structure_set, _OTHER, 0.02),
    Kind("pet", clutter_other.pet, _skipped("pet"), 0.02),
    Kind("structured_report", clutter_other.report, _DOCUMENT, 0.05),
    Kind("encapsulated_pdf", clutter_other.document, _DOCUMENT, 0.05),
    Kind("grey_capture", clutter_other.grey_capture, _CAPTURE, 0.08),
    Kind("colour_capture", clutter_other.colour_capture, _CAPTURE, 0.08),
    Kind("static", partial(_one, clutter_nm.spot_view), _NOT_WHOLE_BODY, 0.10),
    Kind("dynamic", partial(_one, clutter_nm.dynamic), _NOT_WHOLE_BODY, 0.03),
    Kind("tomo", partial(_one, clutter_nm.tomography), _NOT_WHOLE_BODY, 0.05),
    Kind("recon_tomo", partial(_one, clutter_nm.reconstruction), _NOT_WHOLE_BODY, 0.05),
    Kind("dicomdir", clutter_other.directory, _skipped("dicomdir"), 0.0, "DICOMDIR"),
    Kind("garbage", clutter_other.garbage, _failed("decode_failed")),
    Kind("text", clutter_other.text, _NOT_DICOM, 0.02, "README.txt"),
    Kind("png", clutter_other.picture, _NOT_DICOM, 0.02, "preview.png"),
    Kind("empty", clutter_other.nothing, _NOT_DICOM, 0.01, "empty.dcm"),
)
"""Objects that lie in the folder of a usable study and belong to it."""

EXTRA_STUDIES = (
    Kind("truncated_whole_body", partial(_one, clutter_nm.truncated), _failed("truncated_pixel_data")),
    Kind("lone_view", partial(_one, clutter_nm.lone_view), _failed("single_view_only")),
    Kind("unlabelled", partial(_one, clutter_nm.unlabelled), _failed("view_unresolved")),
    Kind("contradicting", partial(_one, clutter_nm.contradicting), _failed("view_conflict")),
    Kind("all_zero", partial(_one, clutter_nm.all_zero), _failed("all_zero")),
)
"""Whole-body scans that fail, each a study of its own and without a label."""

DUPLICATE = _skipped("duplicate_view")
"""Outcome of the second copy of an object."""
DUPLICATES = 0.04
"""Share of the studies with one object twice."""


def companions(index: int, examination: Examination, rng: Generator) -> list[Entry]:
    """What lies beside study ``index``."""
    everything = index % ROUND == 0
    chosen = [kind for kind in COMPANIONS if rng.random() < kind.rate or everything]
    return [
        Entry(kind.name, kind.outcome, data, kind.file_name) for kind in chosen for data in kind.make(examination, rng)
    ]


def duplicated(index: int, originals: list[Entry], rng: Generator) -> list[Entry]:
    """A second copy of the first object, in some studies."""
    if index % ROUND and rng.random() >= DUPLICATES:
        return []
    original = originals[0]
    return [Entry(original.kind, DUPLICATE, original.data)]
