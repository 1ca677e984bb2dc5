"""Selects whole-body bone scans by Modality, Image Type, geometry and pixel module.

SOP Class alone does not decide: old cameras store bone scans as Secondary Capture.
"""

import re
from enum import Enum, auto
from functools import lru_cache

from bsbatch.dicom.encoding import is_encapsulated
from bsbatch.host import limits
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import EnergyRange, Header, PixelData

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Prefix of the Secondary Capture family (PS3.4 B.5). Old GE cameras store real counts under it."""
_OF_COUNTS = frozenset({"1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.5"})
"""NM Image Storage, and its retired predecessor. Their objects are nuclear medicine whatever their Modality."""
_STANDARD = "1.2.840.10008."
"""Prefix of the SOP classes of the standard."""
_UNREAD = Verdict(
    Stage.HEADER,
    Reason.DECODE_FAILED,
    "the header ends, or turns into other bytes, before its image begins: copy or export the file again",
)
_DOCUMENTS = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.")
_DOCUMENT_MODALITIES = frozenset({"SR", "DOC", "KO"})
_OF_KIND = frozenset({"Modality", "SOPClassUID", "ImageType"})
_OF_PAIRING = frozenset(
    {"SeriesInstanceUID", "FrameOfReferenceUID", "AcquisitionDate", "AcquisitionTime", "ContentDate"}
)
"""Keywords of `Header.unfit` that decide the kind of an object, and the partner of a single view."""
_OPEN_MODALITIES = frozenset({"", "NM"})
_CAPTURE_MODALITIES = frozenset({"", "OT", "SC", "NM"})
_PET_SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130"})
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"})

_OTHER_TYPES = frozenset(
    {"STATIC", "DYNAMIC", "GATED", "TOMO", "GATED TOMO", "RECON TOMO", "RECON GATED TOMO"}
)  # value 3 of (0008,0008) Image Type, PS3.3 C.8.4.9.1.1
_WHOLE_BODY = "WHOLE BODY"
_IS_WHOLE_BODY = re.compile(r"(WHOLE|TOTAL)[ _-]*BODY|WB")
_NAMES_WHOLE_BODY = re.compile(
    r"(WHOLE|TOTAL)[ _-]*BODY|(?<![A-Z])WB(?![A-Z])|GANZK|CORPS[ _-]*ENTIER|CUERPO[ _-]*(ENTERO|COMPLETO)"
    r"|CORPO[ _-]*INT"
)
_MIN_ROWS, _MIN_STATIC, _MIN_UNKNOWN = 512, 256, 128
"""Length of the matrix of a whole-body scan without an Image Type, of one that is called static, and of an object that
might be one: it fails aloud."""
_MOST_FRAMES = 8
"""A whole-body scan has a frame for each head and energy window; series of many frames are something else."""
_MIN_ASPECT, _MAX_ASPECT = 1.8, 6.0
_CONTAINERS = frozenset({1, 8, 16, 32, 64})
"""Values of Bits Allocated that can be read."""
_TC99M_KEV = 140.0
_REMEMBERED = 256
"""Size of the cache of windows and frames: an archive has few different ones."""


def may_be_scan(modality: str, sop_class: str) -> bool:
    """Return False if `decline` rejects every object of this Modality and SOP Class UID."""
    return modality.upper() in _OPEN_MODALITIES or sop_class in _OF_COUNTS


def has_body_shape(rows: int, columns: int, least: int = _MIN_UNKNOWN) -> bool:
    """Return True for the shape of a standing or lying body. `find_defect` refuses the lying ones aloud."""
    long, short = max(rows, columns), min(rows, columns)
    return long >= least and short > 0 and _MIN_ASPECT <= long / short <= _MAX_ASPECT


def decline(header: Header) -> Verdict | None:
    """Return the reason why an object is no whole-body bone scan; None if it is one, sound or damaged.

    Without a value of Image Type, the geometry decides (at least 512 rows, and rows / columns from 1.8 to 6), or the
    words of a whole-body scan. Objects in nuclear medicine's SOP class are nuclear medicine, whatever their Modality. A
    header that was cut or overwritten before its image fails, unless something before the cut excludes a bone scan.
    """
    if _is_unread(header):
        return _UNREAD
    reason = _other_modality(header) or _display_capture(header) or _other_nuclear_medicine(header)
    if reason is None:
        return None
    return Verdict.of(Stage.HEADER, Reason.INVALID_VALUE if header.unfit and _hides_its_kind(header) else reason)


def find_defect(header: Header, max_pixels: int) -> Verdict | None:
    """Return the defect that makes a whole-body object unusable; None if its header shows none.

    Parameters
    ----------
    header
        Of an object that `decline` accepts.
    max_pixels
        Limit of rows x columns x frames; larger objects are never allocated, nor are those of too many frames.
    """
    if _may_be_small_scan(header):
        return Verdict.of(Stage.HEADER, Reason.MATRIX_TOO_SMALL)
    if header.rows * header.columns * header.frames > max_pixels or header.frames > limits.FRAMES:
        return Verdict.of(Stage.HEADER, Reason.TOO_LARGE)
    if header.is_damaged:
        return Verdict.of(Stage.HEADER, Reason.INVALID_VALUE)
    for reason in (_size_reason(header), _pixel_data_reason(header), _vector_reason(header)):
        if reason is not None:
            return Verdict.of(Stage.HEADER, reason)
    return None


def find_gap(header: Header) -> Verdict | None:
    """Return the defect of a single view whose partner cannot be found, because a date, time or UID was dropped."""
    return None if _OF_PAIRING.isdisjoint(header.unfit) else Verdict.of(Stage.HEADER, Reason.INVALID_VALUE)


def photopeak_frames(header: Header, *, any_window: bool = False) -> tuple[int, ...] | Reason:
    """Frames (from 1) of the energy window that contains 140 keV, or the reason why there is no such window.

    PS3.3 C.8.4.8.1.1: frames run over energy windows (slow) and detectors (fast). Windows that no frame comes from do
    not matter. A vector of one value is that of all frames if there are not several windows.

    Parameters
    ----------
    header
        Of a whole-body object.
    any_window
        Accept frames that all come from one window, even if it does not contain 140 keV.
    """
    return _frames_of_window(header.frames, header.energy_window_vector, header.energy_windows, any_window)


@lru_cache(_REMEMBERED)
def _frames_of_window(
    number: int, vector: tuple[int, ...], ranges: tuple[tuple[EnergyRange | None, ...], ...], any_window: bool
) -> tuple[int, ...] | Reason:
    frames = tuple(range(1, number + 1))
    if len(ranges) > 1:
        found = _choose_window(ranges, set(vector), any_window=any_window)
        if isinstance(found, Reason):
            return found
        return tuple(frame for frame, window in zip(frames, vector, strict=False) if window == found)
    windows = [_judge_window(window) for window in ranges]
    if windows and windows[0] is not _Window.UNKNOWN:
        return frames if any_window or windows[0] is _Window.PHOTOPEAK else _REFUSALS[windows[0]]
    return Reason.AMBIGUOUS_ENERGY_WINDOW if len(set(vector)) > 1 else frames


class _Window(Enum):
    """An energy window, as seen by someone who looks for Tc-99m."""

    PHOTOPEAK = auto()
    OTHER = auto()
    UNREADABLE = auto()
    UNKNOWN = auto()


_REFUSALS = {
    _Window.OTHER: Reason.WRONG_ISOTOPE_WINDOW,
    _Window.UNREADABLE: Reason.ENERGY_WINDOW_UNREADABLE,
    _Window.UNKNOWN: Reason.AMBIGUOUS_ENERGY_WINDOW,
}


def _choose_window(
    windows: tuple[tuple[EnergyRange | None, ...], ...], used: set[int], *, any_window: bool
) -> int | Reason:
    """Return the number of the one window with 140 keV among those that frames come from."""
    if not used <= set(range(1, len(windows) + 1)):
        return Reason.AMBIGUOUS_ENERGY_WINDOW
    judged = {number: _judge_window(windows[number - 1]) for number in used or range(1, len(windows) + 1)}
    kinds = set(judged.values())
    if len(used) == 1 and (any_window or kinds <= {_Window.PHOTOPEAK, _Window.UNKNOWN}):
        return next(iter(used))
    hits = [number for number, kind in judged.items() if kind is _Window.PHOTOPEAK]
    if len(hits) == 1 and used:
        return hits[0]
    if hits or _Window.UNKNOWN in kinds:
        return Reason.AMBIGUOUS_ENERGY_WINDOW
    return _REFUSALS[_Window.UNREADABLE if _Window.UNREADABLE in kinds else _Window.OTHER]


def _judge_window(ranges: tuple[EnergyRange | None, ...]) -> _Window:
    if any(energies is not None and energies[0] <= _TC99M_KEV <= energies[1] for energies in ranges):
        return _Window.PHOTOPEAK
    if None in ranges:
        return _Window.UNREADABLE
    return _Window.OTHER if ranges else _Window.UNKNOWN


def _is_unread(header: Header) -> bool:
    """Return True if the header has neither matrix nor pixel data, and nothing in it says that it is no bone scan.

    Some cameras call whole-body scans STATIC: without a matrix that excludes nothing.
    """
    if header.pixel_data is not None or (header.rows and header.columns):
        return False
    is_other_kind = _kind(header) in _OTHER_TYPES - {"STATIC"} or "TRANSMISSION" in header.image_type[3:4]
    sop_class = header.sop_class or ""
    return may_be_scan(header.modality, sop_class) and _may_hold_counts(sop_class) and not is_other_kind


def _hides_its_kind(header: Header) -> bool:
    """Return True if a value that excludes a bone scan might stand where one was dropped."""
    sop_class, modality = header.sop_class or "", header.modality.upper()
    is_open = sop_class in _OF_COUNTS or (modality in _CAPTURE_MODALITIES and _may_hold_counts(sop_class))
    return is_open and not _OF_KIND.isdisjoint(header.unfit)


def _may_hold_counts(sop_class: str) -> bool:
    """Return True for the classes under which bone scans are stored, for private ones, and for none."""
    return sop_class in _OF_COUNTS or sop_class.startswith(SECONDARY_CAPTURE) or not sop_class.startswith(_STANDARD)


def _other_modality(header: Header) -> Reason | None:
    sop_class, modality = header.sop_class or "", header.modality.upper()
    if sop_class.startswith(_DOCUMENTS) or modality in _DOCUMENT_MODALITIES:
        return Reason.STRUCTURED_REPORT_OR_PDF
    if modality == "PT" or sop_class in _PET_SOP_CLASSES:
        return Reason.PET
    if modality == "NM" or sop_class in _OF_COUNTS:
        return None
    if sop_class.startswith(SECONDARY_CAPTURE) and modality in _CAPTURE_MODALITIES:
        return Reason.SC_DISPLAY_CAPTURE
    return Reason.MODALITY_NOT_NM


def _display_capture(header: Header) -> Reason | None:
    is_capture = (header.sop_class or "").startswith(SECONDARY_CAPTURE)
    if is_capture and (_kind(header) != _WHOLE_BODY or header.samples_per_pixel > 1):
        return Reason.SC_DISPLAY_CAPTURE
    if header.samples_per_pixel > 1 or (is_capture and header.photometric == "PALETTE COLOR"):
        return Reason.COLOR_IMAGE  # in an NM object a palette only shows the counts, PS3.3 C.8.4.7
    return None


def _other_nuclear_medicine(header: Header) -> Reason | None:
    kind = _kind(header)
    is_static_whole_body = kind == "STATIC" and _has_body_matrix(header, _MIN_STATIC) and _names_whole_body(header)
    if kind in _OTHER_TYPES and not is_static_whole_body:
        return Reason.NOT_WHOLE_BODY
    if "TRANSMISSION" in header.image_type[3:4]:
        return Reason.TRANSMISSION_IMAGE
    if kind == _WHOLE_BODY or is_static_whole_body or _has_body_matrix(header, _MIN_ROWS):
        return None
    is_named = header.frames <= _MOST_FRAMES and _names_whole_body(header)
    return None if is_named or _may_be_small_scan(header) else Reason.NOT_WHOLE_BODY


def _may_be_small_scan(header: Header) -> bool:
    """Return True for one or a few frames in the shape of a body without an Image Type or a word about them."""
    is_unknown = not _kind(header) and header.frames <= _MOST_FRAMES and not _names_whole_body(header)
    return is_unknown and _has_body_matrix(header, _MIN_UNKNOWN) and not _has_body_matrix(header, _MIN_ROWS)


def _kind(header: Header) -> str:
    """Value 3 of Image Type; ``WHOLE BODY`` in any spelling and place, unless value 3 is another type."""
    kind = header.image_type[2] if len(header.image_type) > 2 else ""  # noqa: PLR2004 - value 3 of Image Type
    if kind != _WHOLE_BODY and kind not in _OTHER_TYPES and any(map(_IS_WHOLE_BODY.fullmatch, header.image_type)):
        return _WHOLE_BODY
    return kind


def _has_body_matrix(header: Header, least: int) -> bool:
    return has_body_shape(header.rows, header.columns, least)


def _names_whole_body(header: Header) -> bool:
    """Return True if Whole Body Technique is given, or if Image ID or Series Description names a whole-body scan."""
    return bool(header.whole_body_technique) or any(
        _NAMES_WHOLE_BODY.search(text.upper()) for text in header.image_ids + header.descriptions
    )


def _has_body_aspect(header: Header) -> bool:
    return header.columns > 0 and _MIN_ASPECT <= header.rows / header.columns <= _MAX_ASPECT


def _size_reason(header: Header) -> Reason | None:
    if header.pixel_data is None or header.rows <= 0 or header.columns <= 0 or header.frames <= 0:
        return Reason.NO_PIXEL_DATA
    return None if _has_body_aspect(header) else Reason.ASPECT_OUT_OF_RANGE


def _pixel_data_reason(header: Header) -> Reason | None:
    """Check that Bits Stored bits end at High Bit inside a container (PS3.5 section 8.1.1), and that no pixel lacks."""
    pixels, allocated = header.pixel_data, header.bits_allocated
    if pixels is None:
        return Reason.NO_PIXEL_DATA
    if _has_other_encoding(header.transfer_syntax, pixels):
        return Reason.TRANSFER_SYNTAX_MISMATCH
    if allocated not in _CONTAINERS or not 0 < header.bits_stored <= header.high_bit + 1 <= allocated:
        return Reason.INVALID_BITS
    expected = header.rows * header.columns * header.frames * header.bits_allocated // 8
    is_short = header.transfer_syntax in _NATIVE and pixels.length < expected
    return Reason.TRUNCATED_PIXEL_DATA if is_short or not pixels.is_complete else None


def _has_other_encoding(syntax: str, pixels: PixelData) -> bool:
    """Return True for fragments under a native syntax, and for none under an encapsulated one (PS3.5 section A.4)."""
    has_fragments = pixels.length < 0 <= pixels.offset
    return has_fragments if syntax in _NATIVE else is_encapsulated(syntax) and not has_fragments


def _vector_reason(header: Header) -> Reason | None:
    windows = header.energy_window_vector
    if len(windows) == 1 and len(header.energy_windows) <= 1:  # left of a longer vector: there is no other window
        windows = ()
    lengths = {len(header.detector_vector), len(windows)} - {0, header.frames}
    return Reason.DETECTOR_VECTOR_MISMATCH if lengths else None
