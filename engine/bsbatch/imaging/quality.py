"""Image quality metrics and flags; they warn and never reject an examination."""

import math
from enum import StrEnum
from itertools import compress
from typing import NamedTuple

import cv2
import numpy as np
import xxhash
from numpy.typing import NDArray

from bsbatch.imaging.position import Position, combine, judge, judge_compiled
from bsbatch.imaging.profiles import profile_pair
from bsbatch.native.view_pairs import LOADED, Measured, Pixels, pair_functions
from bsbatch.records import EvidenceKind, Examination, ExamView, Quality
from bsbatch.view_pixels import ViewPixels

_HOTSPOT_LIMIT = 4.0
_LOW_COUNTS = 100_000.0
_EIGHT_BITS = 8
_FEW_SATURATED = 4
_OPENCV_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16)
_PERCENTILE = 0.99
_SAMPLED = 61
"""Every 61st pixel is sampled to find a lower bound of the largest ones; a prime, so that every column is sampled."""
_NO_LIMIT = 1 << 32
_MOST_COUNTS = 0xFFFF
_ROOT_STEPS = 512
"""Steps per unit of a rounded square root. Values that are no counts are first scaled to a maximum of 65535."""


class Flag(StrEnum):
    """Warnings of the column ``qc_flags``."""

    COUNTS_MISMATCH = "counts_mismatch"
    """The pixels do not add up to (0018,0070) Counts Accumulated: processed, or damaged."""
    COUNTS_TOO_LOW = "counts_too_low"
    """A view of fewer than 100,000 counts."""
    NEGATIVE_COUNTS = "negative_counts"
    """A pixel below zero: an effect of lossy compression, or a subtraction."""
    LOSSY = "lossy"
    """(0028,2110) Lossy Image Compression is 01, or the transfer syntax is lossy."""
    EIGHT_BIT_ORIGIN = "8bit_origin"
    """Bits Stored is at most 8: counts were scaled to eight bits."""
    HOTSPOT_DOMINATES = "hotspot_dominates"
    """Maximum over 99th percentile above 4: bladder or injection site sets the scale of the image."""
    SATURATED = "saturated"
    """More than 4 pixels at the largest value that can be stored."""
    ORIENTATION_SUSPECT = "orientation_suspect"
    """The body lies upside down or across the matrix; it is not turned."""
    BODY_TRUNCATED = "body_truncated"
    """Three quarters of the head, the legs from the shanks down, or one side of the body lie outside a view."""
    VIEW_INCOMPLETE = "view_incomplete"
    """A view lacks a part of the body that the other shows, or has less than a third of its counts."""
    ROWS_MISSING = "rows_missing"
    """Rows within the body without the counts of their neighbours: lines were lost."""
    LATERALITY_SUSPECT = "laterality_suspect"
    """The posterior view resembles the anterior one more than its mirror image: one may be stored mirrored."""
    PADDING_REMOVED = "padding_removed"
    """Pixels of (0028,0120) Pixel Padding Value, which are no counts, were set to no counts."""
    MODALITY_LUT = "modality_lut"
    """The counts were looked up in the table of (0028,3000) Modality LUT Sequence."""
    MONOCHROME1 = "monochrome1"
    """Photometric Interpretation is MONOCHROME1: counts are kept, Secondary Capture of 8 bits is inverted."""
    VIEW_ASSUMED = "view_assumed"
    """The views were assumed from the order of the frames, as --assume-frame-order allows."""
    OTHER_TRACER = "other_tracer"
    """The header names another tracer than those of bone scans with Tc-99m."""
    EARLY_PHASE = "early_phase"
    """Less than 90 minutes after the injection, or a description that names a flow, blood pool or early phase."""
    VALUES_DROPPED = "values_dropped"
    """A value of the header does not fit its attribute and is not used; ``unfit_values`` of ``objects`` names it."""
    UNLIKE_TRAINING = "unlike_training"
    """The distance from the training data of the model is beyond its limit; raised by the model, not by the picture."""


_FLAGS = tuple(flag.value for flag in Flag)


class _PairResult(NamedTuple):
    totals: tuple[float, float]
    low: float
    """Of both views together."""
    hotspot_ratios: tuple[float, float]
    saturated: int
    laterality: float
    position: Position
    missing_rows: int


def assess(exam: Examination, anterior: ViewPixels, posterior: ViewPixels) -> Quality:
    """Compute the quality metrics of an examination.

    Parameters
    ----------
    exam
        The examination.
    anterior, posterior
        ``(rows, columns)`` counts each.
    """
    has_padding = anterior.has_padding or posterior.has_padding
    measured = _measure(exam, anterior, posterior)
    return _conclude(exam, measured, _pixel_hash(anterior, posterior), has_padding=has_padding)


def assess_loaded(exam: Examination, measured: Measured) -> Quality:
    """Compute the same of views without padding, which compiled code has measured with `limits_of`."""
    return _conclude(exam, _convert(measured, LOADED), measured.pixel_xxh3, has_padding=False)


def _conclude(exam: Examination, measured: _PairResult, pixel_xxh3: str, *, has_padding: bool) -> Quality:
    totals, low, hotspot_ratios, saturated, laterality, position, missing_rows = measured
    front, back = exam.scans[0], exam.scans[-1]
    first, last = front.header, back.header
    is_raised = (  # in the order of `Flag`; hashing or naming members costs more than all else here
        not _counts_agree(exam, totals[0] + totals[1]),  # counts_mismatch
        min(totals) < _LOW_COUNTS,  # counts_too_low
        low < 0,  # negative_counts
        first.is_lossy or last.is_lossy,  # lossy
        first.bits_stored <= _EIGHT_BITS or last.bits_stored <= _EIGHT_BITS,  # 8bit_origin
        max(hotspot_ratios) > _HOTSPOT_LIMIT,  # hotspot_dominates
        saturated > _FEW_SATURATED,  # saturated
        position.is_turned,  # orientation_suspect
        position.is_cut,  # body_truncated
        position.is_uneven,  # view_incomplete
        missing_rows > 0,  # rows_missing
        laterality < 0,  # laterality_suspect
        has_padding,  # padding_removed
        first.has_modality_lut or last.has_modality_lut,  # modality_lut
        "MONOCHROME1" in {first.photometric, last.photometric},  # monochrome1
        _is_assumed(exam.anterior) or _is_assumed(exam.posterior),  # view_assumed
        front.tracer.is_other or back.tracer.is_other,  # other_tracer
        front.tracer.is_early or back.tracer.is_early,  # early_phase
        bool(first.unfit or last.unfit),  # values_dropped
    )
    return Quality(
        *totals,
        *hotspot_ratios,
        laterality_correlation=laterality,
        saturated_pixels=saturated,
        flags=tuple(compress(_FLAGS, is_raised)),
        pixel_xxh3=pixel_xxh3,
    )


def _is_assumed(view: ExamView | None) -> bool:
    return view is not None and view.frame.evidence is EvidenceKind.ASSUMED_ORDER


def limits_of(exam: Examination) -> tuple[int, int]:
    """Return the largest values that the stored bits of the anterior and of the posterior view can hold."""
    return _largest_stored(exam.anterior), _largest_stored(exam.posterior)


def _measure(exam: Examination, anterior: ViewPixels, posterior: ViewPixels) -> _PairResult:
    """Measure every pixel with compiled code if it is installed and supports the views, else with numpy."""
    front, back, limits = anterior.values, posterior.values, limits_of(exam)
    native = pair_functions()
    if native is not None and front is anterior.stored and back is posterior.stored:
        statistics = native.measure(front, back, limits)
        if statistics is not None:
            faults = judge_compiled(native, statistics, front.shape)
            cells = statistics.body_cells, statistics.absent_cells
            return _convert(Measured(statistics.views, statistics.antisymmetry, cells, faults), front.shape)
    profiles, totals = profile_pair(front, back), (_total(front), _total(back))
    return _PairResult(
        totals,
        float(min(front.min(), back.min())),
        (_hotspot_ratio(front), _hotspot_ratio(back)),
        _count_saturated(anterior.stored, limits[0]) + _count_saturated(posterior.stored, limits[1]),
        _laterality(front, back),
        judge(profiles, totals, anterior.stored.shape),
        profiles.missing_rows,
    )


def _convert(measured: Measured, shape: tuple[int, ...]) -> _PairResult:
    """Return what compiled code has measured of views with this number of rows and columns."""
    (front, back), antisymmetry, cells, faults, _ = measured
    totals = float(front.total), float(back.total)
    moments = (front.root_total, front.root_squares), (back.root_total, back.root_squares)
    return _PairResult(
        totals,
        min(front.low, back.low),
        (front.hotspot_ratio, back.hotspot_ratio),
        front.saturated + back.saturated,
        _contrast(antisymmetry, moments, shape[0] * shape[1] // 4),
        combine(faults, cells, totals),
        front.missing_rows + back.missing_rows,
    )


def _total(values: Pixels) -> float:
    """Sum of a view; exact for integers."""
    if values.dtype in _OPENCV_INTEGERS:
        return float(cv2.sumElems(values)[0])
    return float(np.asarray(values, np.float32).sum(dtype=np.float64))


def _counts_agree(exam: Examination, total: float) -> bool:
    """Compare with Counts Accumulated of the headers, if all have it: for one object the sum over all its frames."""
    promised = [scan.header.counts_accumulated or 0 for scan in exam.scans]
    if 0 in promised or any(scan.header.frames > len(scan.frames) for scan in exam.scans):
        return True
    return round(total) == sum(promised)


def _hotspot_ratio(values: Pixels) -> float:
    """Maximum over the 99th percentile of the positive pixels, interpolated like `numpy.percentile`."""
    flat = values.ravel()
    number = int(np.count_nonzero(flat if values.dtype.kind == "u" else flat > 0))
    if number == 0:
        return 0.0
    above = number - 1 - int((number - 1) * _PERCENTILE)
    largest = _at_least(flat, above)
    sorting = np.partition(largest, largest.size - 1 - above)
    lower, higher = sorting[largest.size - 1 - above], sorting[largest.size - above :].min(initial=np.inf)
    rank = (number - 1) * _PERCENTILE
    return float(largest.max() / _between(lower, higher if above else lower, rank - int(rank)))


def _between(lower: np.float32, higher: np.float32, share: float) -> np.float32:
    """Linear interpolation, from the nearer end."""
    step = higher - lower
    return lower + step * np.float32(share) if share < 0.5 else higher - step * np.float32(1 - share)  # noqa: PLR2004


def _at_least(flat: Pixels, above: int) -> NDArray[np.float32]:
    """Return few of the largest pixels, but more than ``above``; all pixels if the bound from a sample is too high."""
    sample = flat[::_SAMPLED].astype(np.float32)  # partition is five times as fast as for integers
    rank = max(0, sample.size - 1 - 2 * (above // _SAMPLED + 1))
    candidates = flat[flat >= np.partition(sample, rank)[rank]]
    return np.asarray(candidates if candidates.size > above else flat, np.float32)


def _laterality(anterior: Pixels, posterior: Pixels) -> float:
    """Gain in correlation by mirroring one view, see `_contrast`; 0 if the views cannot be compared."""
    if anterior.shape != posterior.shape:
        return 0.0
    front, back = _roots(anterior), _roots(posterior)
    moments = (int(front.sum()), _dot(front, front)), (int(back.sum()), _dot(back, back))
    return _contrast(-_dot(_sides(front), _sides(back)), moments, front.size)


def _contrast(antisymmetry: int, moments: tuple[tuple[int, int], tuple[int, int]], number: int) -> float:
    """Difference of Pearson's correlations: corr(front, mirrored back) - corr(front, back).

    Integers until the last step, so that the order of summation does not matter.

    Parameters
    ----------
    antisymmetry
        Sum of products front x (mirrored back - back); `_sides` reduces it to a sum over half of the image.
    moments
        For each view the sum of its values and the sum of their squares.
    number
        Number of values of a view.
    """
    (total, squares), (other_total, other_squares) = moments
    spread = (number * squares - total**2) * (number * other_squares - other_total**2)
    return number * antisymmetry / math.sqrt(spread) if spread > 0 else 0.0


def _dot(first: NDArray[np.float64], second: NDArray[np.float64]) -> int:
    """Dot product, exact below 2^53; `numpy.dot` would start threads for it."""
    return int(np.einsum("ij,ij->", first, second))


def _sides(roots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Left half minus the mirrored right half."""
    half = roots.shape[1] // 2
    return np.asarray(roots[:, :half] - roots[:, : -half - 1 : -1])


def _roots(values: Pixels) -> NDArray[np.float64]:
    """Square roots of the means of 2 x 2 pixels in steps of 1 / `_ROOT_STEPS`; roots reduce the weight of hot spots."""
    rows, columns = values.shape
    half = max(columns // 2, 1), max(rows // 2, 1)
    counts = np.asarray(values, np.float32)
    largest = 0.0 if values.dtype in _OPENCV_INTEGERS else float(values.max())
    if largest > _MOST_COUNTS or (values.dtype.kind == "f" and largest > 0):
        counts = counts * np.float32(_MOST_COUNTS / largest)
    roots = np.asarray(cv2.resize(counts, half, interpolation=cv2.INTER_AREA), np.float32)
    np.sqrt(np.maximum(roots, 0, out=roots), out=roots)
    roots *= np.float32(_ROOT_STEPS)
    roots += np.float32(0.5)
    return np.floor(roots, out=roots).astype(np.float64)


def _largest_stored(view: ExamView | None) -> int:
    """Largest value that the stored bits of a view can hold."""
    if view is None:
        return _NO_LIMIT
    header = view.scan.header
    return (1 << (header.bits_stored - header.is_signed)) - 1


def _count_saturated(stored: Pixels, limit: int) -> int:
    if stored.max() < limit:  # nearly always, and faster
        return 0
    return int(np.count_nonzero(stored >= limit))


def _pixel_hash(anterior: ViewPixels, posterior: ViewPixels) -> str:
    """Hash the values as little-endian integers of 16 bits, or of 32 if needed, whatever their encoding."""
    digest = xxhash.xxh3_128()
    for view in (anterior, posterior):
        kind = _narrowest(view.stored)
        digest.update(f"{view.stored.shape}{kind}".encode())
        digest.update(np.ascontiguousarray(view.stored, kind).data)
    return digest.hexdigest()


def _narrowest(stored: Pixels) -> str:
    fits = stored.dtype == np.uint16 or (stored.min() >= 0 and stored.max() <= np.iinfo(np.uint16).max)
    return "<u2" if fits else "<i4"
