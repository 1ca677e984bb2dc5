"""Kinds of clutter, and the choice of clutter for each study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from numpy.random import Generator

from bsbatch.reasons import Status
from bsbatch_build.phantom import clutter_mixups, clutter_nm, clutter_other
from bsbatch_build.phantom.dialects import PhantomScan
from bsbatch_build.phantom.entries import Expectation, PhantomFile

ROUND = 40
"""The first of every 40 studies gets every kind of clutter."""

Maker = Callable[[PhantomScan, Generator], list[bytes]]
Copier = Callable[[PhantomScan, bytes], bytes]
"""Makes a copy from a scan and the file of its first object."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of clutter."""

    name: str
    make: Maker
    expectation: Expectation
    rate: float = 0.0
    """Share of the other studies that get it."""
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class CopyKind:
    """One kind of copy that stands beside a usable object in another form."""

    name: str
    make: Copier
    expectation: Expectation


def _make_one(make: Callable[[PhantomScan, Generator], bytes], scan: PhantomScan, rng: Generator) -> list[bytes]:
    return [make(scan, rng)]


def _skip(reason: str) -> Expectation:
    return Expectation(Status.SKIPPED, reason)


def _fail(reason: str) -> Expectation:
    return Expectation(Status.FAILED, reason)


_OTHER, _CAPTURE = _skip("modality_not_nm"), _skip("sc_display_capture")
_DOCUMENT, _NOT_DICOM = _skip("structured_report_or_pdf"), _skip("not_dicom")
_NOT_WHOLE_BODY = _skip("not_whole_body")

COMPANIONS = (
    Kind("ct_slice", clutter_other.ct_slices, _OTHER, 0.08),
    Kind("truncated_ct", clutter_other.ct_cut_short, _OTHER),
    Kind("rt_structure_set", clutter_other.structure_set, _OTHER, 0.02),
    Kind("pet", clutter_other.pet, _skip("pet"), 0.02),
    Kind("structured_report", clutter_other.report, _DOCUMENT, 0.05),
    Kind("encapsulated_pdf", clutter_other.document, _DOCUMENT, 0.05),
    Kind("grey_capture", clutter_other.grey_capture, _CAPTURE, 0.08),
    Kind("colour_capture", clutter_other.colour_capture, _CAPTURE, 0.08),
    Kind("static", partial(_make_one, clutter_nm.spot_view), _NOT_WHOLE_BODY, 0.10),
    Kind("dynamic", partial(_make_one, clutter_nm.dynamic_scan), _NOT_WHOLE_BODY, 0.03),
    Kind("tomo", partial(_make_one, clutter_nm.tomography), _NOT_WHOLE_BODY, 0.05),
    Kind("recon_tomo", partial(_make_one, clutter_nm.reconstruction), _NOT_WHOLE_BODY, 0.05),
    Kind("dicomdir", clutter_other.directory, _skip("dicomdir"), 0.0, "DICOMDIR"),
    Kind("garbage", clutter_other.garbage, _fail("decode_failed")),
    Kind("text", clutter_other.text, _NOT_DICOM, 0.02, "README.txt"),
    Kind("png", clutter_other.picture, _NOT_DICOM, 0.02, "preview.png"),
    Kind("empty", clutter_other.nothing, _NOT_DICOM, 0.01, "empty.dcm"),
)
"""Objects in the folder of a usable study, with its identity."""

EXTRA_STUDIES = (
    Kind("truncated_whole_body", partial(_make_one, clutter_nm.scan_cut_short), _fail("truncated_pixel_data")),
    Kind("lone_view", partial(_make_one, clutter_nm.lone_view), _fail("single_view_only")),
    Kind("unlabelled", partial(_make_one, clutter_nm.scan_without_labels), _fail("view_unresolved")),
    Kind("contradicting", partial(_make_one, clutter_nm.scan_with_contradictions), _fail("view_conflict")),
    Kind("all_zero", partial(_make_one, clutter_nm.scan_with_zero_view), _fail("all_zero")),
    Kind("other_nuclide", clutter_mixups.scan_of_indium, _fail("other_radionuclide")),
    Kind("two_patients", clutter_mixups.views_of_two_patients, _fail("single_view_only")),
    Kind("one_uid", clutter_mixups.scans_of_one_uid, _fail("uid_conflict")),
    Kind("repeat_without_times", clutter_mixups.repeat_without_times, _fail("ambiguous_pairing")),
    Kind("zeros_behind_meta", clutter_mixups.zeros_behind_meta, _fail("decode_failed")),
)
"""Whole-body scans that must fail; each is a study of its own without a label. New kinds come last: the place draws."""

DUPLICATE = _skip("duplicate_view")
"""Expectation for the second copy of an object."""
DUPLICATES = 0.04
"""Share of the studies that hold one object twice."""

COPIES = (
    CopyKind("processed_copy", clutter_mixups.processed_copy, _skip("derived_copy")),
    CopyKind("left_justified", clutter_mixups.left_justified_copy, DUPLICATE),
    CopyKind("overlay_bits", clutter_mixups.overlay_copy, DUPLICATE),
)
"""Copies of the first object of a usable study in another form. They come behind its other files and draw nothing."""


def draw_companions(index: int, scan: PhantomScan, rng: Generator) -> list[PhantomFile]:
    """Draw the clutter in the folder of study ``index``."""
    everything = index % ROUND == 0
    chosen = [kind for kind in COMPANIONS if rng.random() < kind.rate or everything]
    return [
        PhantomFile(kind.name, kind.expectation, data, kind.file_name)
        for kind in chosen
        for data in kind.make(scan, rng)
    ]


def draw_duplicate(index: int, originals: list[PhantomFile], rng: Generator) -> list[PhantomFile]:
    """Return a second copy of the first object in some studies, else an empty list."""
    if index % ROUND and rng.random() >= DUPLICATES:
        return []
    original = originals[0]
    return [PhantomFile(original.kind, DUPLICATE, original.data)]


def make_copies(index: int, scan: PhantomScan, originals: list[PhantomFile]) -> list[PhantomFile]:
    """Make the copies in another form, for the first study of every round."""
    if index % ROUND:
        return []
    return [PhantomFile(kind.name, kind.expectation, kind.make(scan, originals[0].data)) for kind in COPIES]
