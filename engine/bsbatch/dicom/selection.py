"""Selects whole-body bone scans by Modality, Image Type, geometry and pixel module.

SOP Class alone does not decide: old cameras store bone scans as Secondary Capture.
"""

from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Header

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of the Secondary Capture family (PS3.4 B.5). Old GE cameras store real counts under it."""
NUCLEAR_MEDICINE = "1.2.840.10008.5.1.4.1.1.20"
_OF_COUNTS = frozenset({NUCLEAR_MEDICINE, "1.2.840.10008.5.1.4.1.1.5"})
"""NM Image Storage, and its retired predecessor."""
_STANDARD = "1.2.840.10008."
"""Prefix of the SOP classes of the standard."""
_UNREAD = Verdict(
    Stage.HEADER,
    Reason.DECODE_FAILED,
    "the header ends, or turns into other bytes, before its image begins: copy or export the file again",
)
_DOCUMENTS = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.")
_DOCUMENT_MODALITIES = frozenset({"SR", "DOC", "KO"})
_OPEN_MODALITIES = frozenset({"", "NM"})
_CAPTURE_MODALITIES = frozenset({"", "OT", "SC", "NM"})
_PET_SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130"})
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})

_OTHER_TYPES = frozenset(
    {"STATIC", "DYNAMIC", "GATED", "TOMO", "GATED TOMO", "RECON TOMO", "RECON GATED TOMO"}
)  # value 3 of (0008,0008) Image Type, PS3.3 C.8.4.9.1.1
_MIN_ROWS = 512
_MIN_ASPECT, _MAX_ASPECT = 1.8, 6.0
_TC99M_KEV = 140.0


def may_be_scan(modality: str) -> bool:
    """Return False if `decline` rejects every object of this modality."""
    return modality in _OPEN_MODALITIES


def decline(header: Header) -> Verdict | None:
    """Return the reason why an object is no whole-body bone scan; None if it is one, sound or damaged.

    Without a value of Image Type, the geometry decides: at least 512 rows, and rows / columns from 1.8 to 6. A header
    that was cut or overwritten before its image fails, unless something before the cut excludes a bone scan.
    """
    if _is_unread(header):
        return _UNREAD
    for check in (_other_modality, _display_capture, _other_nuclear_medicine):
        reason = check(header)
        if reason is not None:
            return Verdict.of(Stage.HEADER, reason)
    return None


def find_defect(header: Header, max_pixels: int) -> Verdict | None:
    """Return the defect that makes a whole-body object unusable; None if its header shows none.

    Parameters
    ----------
    header
        Of an object that `decline` accepts.
    max_pixels
        Limit of rows x columns x frames; larger objects are never allocated.
    """
    for reason in (_size_reason(header, max_pixels), _pixel_data_reason(header), _vector_reason(header)):
        if reason is not None:
            return Verdict.of(Stage.HEADER, reason)
    return None


def photopeak_frames(header: Header) -> tuple[int, ...] | Reason:
    """Frames (from 1) of the energy window that contains 140 keV, or the reason why there is no such window.

    PS3.3 C.8.4.8.1.1: frames run over energy windows (slow) and detectors (fast).
    """
    everything = tuple(range(1, header.frames + 1))
    if not header.energy_windows or not any(header.energy_windows):
        several = len(set(header.energy_window_vector)) > 1
        return Reason.AMBIGUOUS_ENERGY_WINDOW if several else everything
    hits = [number for number, ranges in enumerate(header.energy_windows, start=1) if _holds_photopeak(ranges)]
    if not hits:
        return Reason.WRONG_ISOTOPE_WINDOW
    if len(header.energy_windows) == 1:
        return everything
    if len(hits) > 1 or not header.energy_window_vector:
        return Reason.AMBIGUOUS_ENERGY_WINDOW
    return tuple(
        frame for frame, window in zip(everything, header.energy_window_vector, strict=False) if window == hits[0]
    )


def _is_unread(header: Header) -> bool:
    """Return True if the header has neither matrix nor pixel data, and nothing in it says that it is no bone scan."""
    if header.pixel_data is not None or (header.rows and header.columns):
        return False
    is_other_kind = _kind(header) in _OTHER_TYPES or "TRANSMISSION" in header.image_type[3:4]
    return header.modality in _OPEN_MODALITIES and _may_hold_counts(header.sop_class or "") and not is_other_kind


def _may_hold_counts(sop_class: str) -> bool:
    """Return True for the classes under which bone scans are stored, for private ones, and for none."""
    return sop_class in _OF_COUNTS or sop_class.startswith(SECONDARY_CAPTURE) or not sop_class.startswith(_STANDARD)


def _other_modality(header: Header) -> Reason | None:
    sop_class, modality = header.sop_class or "", header.modality
    if sop_class.startswith(_DOCUMENTS) or modality in _DOCUMENT_MODALITIES:
        return Reason.STRUCTURED_REPORT_OR_PDF
    if modality == "PT" or sop_class in _PET_SOP_CLASSES:
        return Reason.PET
    if modality == "NM" or (not modality and sop_class in _OF_COUNTS):
        return None
    if sop_class.startswith(SECONDARY_CAPTURE) and modality in _CAPTURE_MODALITIES:
        return Reason.SC_DISPLAY_CAPTURE
    return Reason.MODALITY_NOT_NM


def _display_capture(header: Header) -> Reason | None:
    is_capture = (header.sop_class or "").startswith(SECONDARY_CAPTURE)
    if is_capture and (_kind(header) != "WHOLE BODY" or header.samples_per_pixel > 1):
        return Reason.SC_DISPLAY_CAPTURE
    if header.samples_per_pixel > 1 or header.photometric == "PALETTE COLOR":
        return Reason.COLOR_IMAGE
    return None


def _other_nuclear_medicine(header: Header) -> Reason | None:
    kind = _kind(header)
    if kind in _OTHER_TYPES:
        return Reason.NOT_WHOLE_BODY
    if "TRANSMISSION" in header.image_type[3:4]:
        return Reason.TRANSMISSION_IMAGE
    if kind == "WHOLE BODY" or (header.rows >= _MIN_ROWS and _has_body_aspect(header)):
        return None
    return Reason.NOT_WHOLE_BODY


def _kind(header: Header) -> str:
    return header.image_type[2] if len(header.image_type) > 2 else ""  # noqa: PLR2004 - value 3 of Image Type


def _has_body_aspect(header: Header) -> bool:
    return header.columns > 0 and _MIN_ASPECT <= header.rows / header.columns <= _MAX_ASPECT


def _size_reason(header: Header, max_pixels: int) -> Reason | None:
    if header.pixel_data is None or header.rows <= 0 or header.columns <= 0 or header.frames <= 0:
        return Reason.NO_PIXEL_DATA
    if header.rows * header.columns * header.frames > max_pixels:
        return Reason.TOO_LARGE
    return None if _has_body_aspect(header) else Reason.ASPECT_OUT_OF_RANGE


def _pixel_data_reason(header: Header) -> Reason | None:
    pixels = header.pixel_data
    if pixels is None:
        return Reason.NO_PIXEL_DATA
    expected = header.rows * header.columns * header.frames * header.bits_allocated // 8
    is_short = header.transfer_syntax in _NATIVE and pixels.length < expected
    return Reason.TRUNCATED_PIXEL_DATA if is_short or not pixels.is_complete else None


def _vector_reason(header: Header) -> Reason | None:
    lengths = {len(vector) for vector in (header.detector_vector, header.energy_window_vector) if vector}
    return Reason.DETECTOR_VECTOR_MISMATCH if lengths - {header.frames} else None


def _holds_photopeak(ranges: tuple[tuple[float, float], ...]) -> bool:
    return any(lower <= _TC99M_KEV <= upper for lower, upper in ranges)
