"""Reason codes of objects and examinations that were not used; stable, part of the public interface.

A ``skipped`` object was never a whole-body bone scan, or was not asked for; a ``failed`` one could not be used.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Status(StrEnum):
    """Status of an object."""

    USED = "used"
    FAILED = "failed"
    SKIPPED = "skipped"


class Stage(StrEnum):
    """Stage of the run that made the decision."""

    LIST = "list"
    HEADER = "header"
    VIEWS = "views"
    PAIRING = "pairing"
    PIXELS = "pixels"
    PREPROCESS = "preprocess"
    INFER = "infer"


class Reason(StrEnum):
    """Stable reason codes, explained in `EXPLANATIONS`."""

    PERMISSION_DENIED = "permission_denied"
    READ_ERROR = "read_error"
    NOT_DICOM = "not_dicom"
    WRAPPED = "wrapped"
    CONTAINER_NOT_OPENED = "container_not_opened"
    DICOMDIR = "dicomdir"
    DECODE_FAILED = "decode_failed"
    DECODE_TIMEOUT = "decode_timeout"
    INVALID_VALUE = "invalid_value"
    NO_PIXEL_DATA = "no_pixel_data"
    TRUNCATED_PIXEL_DATA = "truncated_pixel_data"
    INVALID_BITS = "invalid_bits"
    INVALID_MODALITY_LUT = "invalid_modality_lut"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    TRANSFER_SYNTAX_MISMATCH = "transfer_syntax_mismatch"
    TOO_LARGE = "too_large"
    MODALITY_NOT_NM = "modality_not_nm"
    PET = "pet"
    STRUCTURED_REPORT_OR_PDF = "structured_report_or_pdf"
    SC_DISPLAY_CAPTURE = "sc_display_capture"
    COLOR_IMAGE = "color_image"
    NOT_WHOLE_BODY = "not_whole_body"
    TRANSMISSION_IMAGE = "transmission_image"
    LATERAL_VIEW = "lateral_view"
    DUPLICATE_VIEW = "duplicate_view"
    DERIVED_COPY = "derived_copy"
    NOT_SELECTED = "not_selected"
    ASPECT_OUT_OF_RANGE = "aspect_out_of_range"
    MATRIX_TOO_SMALL = "matrix_too_small"
    DETECTOR_VECTOR_MISMATCH = "detector_vector_mismatch"
    AMBIGUOUS_ENERGY_WINDOW = "ambiguous_energy_window"
    WRONG_ISOTOPE_WINDOW = "wrong_isotope_window"
    ENERGY_WINDOW_UNREADABLE = "energy_window_unreadable"
    OTHER_RADIONUCLIDE = "other_radionuclide"
    TOO_MANY_FRAMES = "too_many_frames"
    COMPOSITE_VIEWS = "composite_views"
    VIEW_UNRESOLVED = "view_unresolved"
    VIEW_CONFLICT = "view_conflict"
    SINGLE_VIEW_ONLY = "single_view_only"
    MATRIX_MISMATCH = "matrix_mismatch"
    AMBIGUOUS_PAIRING = "ambiguous_pairing"
    UID_CONFLICT = "uid_conflict"
    ALL_ZERO = "all_zero"
    CONSTANT_IMAGE = "constant_image"
    COUNTS_NOT_FINITE = "counts_not_finite"
    SCORE_INVALID = "score_invalid"
    SPLIT_STUDY = "split_study"
    WORKER_LOST = "worker_lost"
    INTERNAL_ERROR = "internal_error"


EXPLANATIONS: dict[Reason, str] = {
    Reason.PERMISSION_DENIED: "no permission to read it: grant read access and run again",
    Reason.READ_ERROR: "the file system gave an error: check the disk or the mount and run again",
    Reason.NOT_DICOM: "not a DICOM file",
    Reason.WRAPPED: "a DICOM file inside something else (a DICOMweb response, an archive): unpack it or export again",
    Reason.CONTAINER_NOT_OPENED: "an archive or a member of one that is not opened: unpack it, and run over the folder",
    Reason.DICOMDIR: "a DICOMDIR, an index without images",
    Reason.DECODE_FAILED: "a damaged DICOM header or damaged pixel data",
    Reason.DECODE_TIMEOUT: "compressed pixel data that a decoder did not finish in time: export it uncompressed",
    Reason.INVALID_VALUE: "a value that decides does not fit its attribute, or swallowed others: export it again",
    Reason.NO_PIXEL_DATA: "a whole-body object without pixel data",
    Reason.TRUNCATED_PIXEL_DATA: "the file ends before its pixel data do: copy it again",
    Reason.INVALID_BITS: "Bits Allocated, Bits Stored and High Bit contradict one another",
    Reason.INVALID_MODALITY_LUT: "the Modality LUT, which leads from pixels to counts, is damaged",
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: 'no decoder for this compression: pip install "bsbatch[codecs]" and run again',
    Reason.TRANSFER_SYNTAX_MISMATCH: "pixel data of another kind than the transfer syntax says: export it again",
    Reason.TOO_LARGE: "rows x columns x frames beyond --max-pixels, or contents beyond what they can need",
    Reason.MODALITY_NOT_NM: "another modality than nuclear medicine",
    Reason.PET: "positron emission tomography",
    Reason.STRUCTURED_REPORT_OR_PDF: "a structured report or an encapsulated document",
    Reason.SC_DISPLAY_CAPTURE: "a screen capture, not counts",
    Reason.COLOR_IMAGE: "a colour image, not counts",
    Reason.NOT_WHOLE_BODY: "nuclear medicine, but static, dynamic, gated or tomographic",
    Reason.TRANSMISSION_IMAGE: "a transmission image",
    Reason.LATERAL_VIEW: "a lateral view only",
    Reason.DUPLICATE_VIEW: "a copy: its patient and its pixels are those of another object of the study",
    Reason.DERIVED_COPY: "a processed copy of an original acquisition of the study",
    Reason.NOT_SELECTED: "a whole-body object of a study that the run was asked to leave out (--since, --exclude ...)",
    Reason.ASPECT_OUT_OF_RANGE: "a whole-body object whose rows / columns are outside 1.8 to 6",
    Reason.MATRIX_TOO_SMALL: "shaped like a body, but small and without an Image Type: name it a whole-body scan",
    Reason.DETECTOR_VECTOR_MISMATCH: "Detector or Energy Window Vector is not as long as the number of frames",
    Reason.AMBIGUOUS_ENERGY_WINDOW: "several energy windows and no single one around 140 keV",
    Reason.WRONG_ISOTOPE_WINDOW: "the frames come from no energy window that holds 140 keV, so not Tc-99m",
    Reason.ENERGY_WINDOW_UNREADABLE: (
        "the limits of the energy window are given but are no energies (zero, text): see --tracer any"
    ),
    Reason.OTHER_RADIONUCLIDE: "the header names another radionuclide than Tc-99m: see --tracer any",
    Reason.TOO_MANY_FRAMES: "more than one frame of the same view",
    Reason.COMPOSITE_VIEWS: "both views drawn into one frame",
    Reason.VIEW_UNRESOLVED: "nothing says which frame is anterior or posterior: see --assume-frame-order",
    Reason.VIEW_CONFLICT: "two pieces of evidence of one rank name different views for one frame",
    Reason.SINGLE_VIEW_ONLY: "one view without its partner",
    Reason.MATRIX_MISMATCH: "anterior and posterior differ in matrix, pixel spacing, camera or scan length",
    Reason.AMBIGUOUS_PAIRING: "views of several scans, and nothing says which belong together",
    Reason.UID_CONFLICT: "objects of one SOP Instance UID with other pixels or patients: restore their true UIDs",
    Reason.ALL_ZERO: "a view without a single count",
    Reason.CONSTANT_IMAGE: "a view whose pixels are all the same",
    Reason.COUNTS_NOT_FINITE: (
        "Rescale Slope or Intercept turns pixels into infinite counts, above 1e15, or into none, below 1e-15"
    ),
    Reason.SCORE_INVALID: "the model's output is not a finite probability",
    Reason.SPLIT_STUDY: "its study has objects in several of the merged runs: screen the study in one run",
    Reason.WORKER_LOST: "every worker of the cluster that it was given to ended: run it alone, without --executor ray",
    Reason.INTERNAL_ERROR: "a bug in bsbatch, not in the file: report the message, which names the line",
}
"""The meaning of each code, with advice if the user can do something."""

SKIPS = frozenset(
    {
        Reason.NOT_DICOM,
        Reason.DICOMDIR,
        Reason.MODALITY_NOT_NM,
        Reason.PET,
        Reason.STRUCTURED_REPORT_OR_PDF,
        Reason.SC_DISPLAY_CAPTURE,
        Reason.COLOR_IMAGE,
        Reason.NOT_WHOLE_BODY,
        Reason.TRANSMISSION_IMAGE,
        Reason.LATERAL_VIEW,
        Reason.DUPLICATE_VIEW,
        Reason.DERIVED_COPY,
        Reason.NOT_SELECTED,
    }
)
"""Reasons of objects that were never a whole-body bone scan, are copies of one, or were not asked for."""

OF_STUDY = frozenset({Reason.DUPLICATE_VIEW, Reason.DERIVED_COPY, Reason.NOT_SELECTED})
"""Reasons that a whole study decides for objects outside any examination."""


def status_of(reason: Reason) -> Status:
    """Status that goes with a reason: ``skipped`` or ``failed``."""
    return Status.SKIPPED if reason in SKIPS else Status.FAILED


@dataclass(frozen=True, slots=True)
class Verdict:
    """The reason why an object or examination was not used."""

    stage: Stage
    reason: Reason
    message: str
    """For people, without patient data."""

    @property
    def status(self) -> Status:
        """``skipped`` or ``failed``."""
        return status_of(self.reason)

    @staticmethod
    @lru_cache(None)
    def of(stage: Stage, reason: Reason) -> "Verdict":
        """Verdict with the reason's explanation as its message; equal arguments return the same object."""
        return Verdict(stage, reason, EXPLANATIONS[reason])
