"""Figures that tell a reader to look twice; none of them turns an examination down."""

from enum import StrEnum
from typing import Any

import cv2
import numpy as np
import xxhash
from numpy.typing import NDArray

from bsbatch.records import EvidenceKind, Examination, ExamView, Quality, ViewPixels

_HOTSPOT_LIMIT = 4.0
_LOW_COUNTS = 100_000.0
_EIGHT_BIT = 255
_FEW_SATURATED = 4
_EDGE_ROWS = 2
_OPENCV_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16)
_PERCENTILE = 0.99
_SAMPLED = 61
"""One pixel in so many tells about where the largest begin; a prime, so that every column has its turn."""

Pixels = NDArray[Any]
"""``(rows, columns)`` counts of any type of number."""


class Flag(StrEnum):
    """Warnings of the column ``qc_flags``."""

    COUNTS_MISMATCH = "counts_mismatch"
    """The pixels do not add up to (0018,0070) Counts Accumulated: processed, or damaged."""
    COUNTS_TOO_LOW = "counts_too_low"
    """A view of fewer than 100,000 counts."""
    NEGATIVE_COUNTS = "negative_counts"
    """A pixel below zero: a lossy decoder's work, or a subtraction."""
    LOSSY = "lossy"
    """(0028,2110) Lossy Image Compression is 01."""
    EIGHT_BIT_ORIGIN = "8bit_origin"
    """A view's largest value is exactly 255: counts were squeezed into eight bits."""
    HOTSPOT_DOMINATES = "hotspot_dominates"
    """Maximum over 99th percentile beyond 4: bladder or injection site sets the scale of the image."""
    SATURATED = "saturated"
    """More than 4 pixels at the largest value that can be stored."""
    BODY_TRUNCATED = "body_truncated"
    """Counts in both the first and the last rows: the patient is longer than the scan."""
    LATERALITY_SUSPECT = "laterality_suspect"
    """The posterior view resembles the anterior one more than its mirror image: one may be stored mirrored."""
    VIEW_ASSUMED = "view_assumed"
    """The views were taken from the order of the frames, as --assume-frame-order allows."""


def assess(exam: Examination, anterior: ViewPixels, posterior: ViewPixels) -> Quality:
    """Measure both views of an examination, ``(rows, columns)`` counts each."""
    views = anterior.values, posterior.values
    ratios = _hotspot_ratio(views[0]), _hotspot_ratio(views[1])
    sums = _total(views[0]), _total(views[1])
    laterality = _laterality(*views)
    saturated = _saturated(anterior.stored, exam.anterior) + _saturated(posterior.stored, exam.posterior)
    flags = {
        Flag.COUNTS_MISMATCH: not _counts_agree(exam, sums),
        Flag.COUNTS_TOO_LOW: min(sums) < _LOW_COUNTS,
        Flag.NEGATIVE_COUNTS: any(float(values.min()) < 0 for values in views),
        Flag.LOSSY: any(scan.header.is_lossy for scan in exam.scans),
        Flag.EIGHT_BIT_ORIGIN: any(float(values.max()) == _EIGHT_BIT for values in views),
        Flag.HOTSPOT_DOMINATES: max(ratios) > _HOTSPOT_LIMIT,
        Flag.SATURATED: saturated > _FEW_SATURATED,
        Flag.BODY_TRUNCATED: any(map(_is_cut, views)),
        Flag.LATERALITY_SUSPECT: laterality < 0,
        Flag.VIEW_ASSUMED: any(
            item.evidence is EvidenceKind.ASSUMED_ORDER for scan in exam.scans for item in scan.frames
        ),
    }
    return Quality(
        counts_anterior=sums[0],
        counts_posterior=sums[1],
        hotspot_ratio_anterior=ratios[0],
        hotspot_ratio_posterior=ratios[1],
        laterality_correlation=laterality,
        saturated_pixels=saturated,
        flags=tuple(flag.value for flag, is_raised in flags.items() if is_raised),
        pixel_xxh3=_pixel_hash(anterior, posterior),
    )


def _total(values: Pixels) -> float:
    """Sum; of integers exact, however it is added up."""
    if values.dtype in _OPENCV_INTEGERS:
        return float(cv2.sumElems(values)[0])
    return float(np.asarray(values, np.float32).sum(dtype=np.float64))


def _counts_agree(exam: Examination, sums: tuple[float, float]) -> bool:
    """Compare with what the header promises, where it promises: for one object the sum over all its frames."""
    promised = [scan.header.counts_accumulated for scan in exam.scans]
    if any(not counts for counts in promised) or any(scan.header.frames > len(scan.frames) for scan in exam.scans):
        return True
    return round(sum(sums)) == sum(counts for counts in promised if counts)


def _hotspot_ratio(values: Pixels) -> float:
    """Maximum over the 99th percentile of the positive pixels, interpolated as `numpy.percentile` does it."""
    flat = values.ravel()
    number = int(np.count_nonzero(flat if values.dtype.kind == "u" else flat > 0))
    if number == 0:
        return 0.0
    place = (number - 1) * _PERCENTILE
    above = number - 1 - int(place)
    largest = _at_least(flat, above)
    sorting = np.partition(largest, largest.size - 1 - above)
    lower, higher = sorting[largest.size - 1 - above], sorting[largest.size - above :].min(initial=np.inf)
    return float(largest.max() / _between(lower, higher if above else lower, place - int(place)))


def _between(lower: np.float32, higher: np.float32, share: float) -> np.float32:
    """Linear interpolation, from the nearer end."""
    step = higher - lower
    return lower + step * np.float32(share) if share < 0.5 else higher - step * np.float32(1 - share)  # noqa: PLR2004


def _at_least(flat: Pixels, above: int) -> NDArray[np.float32]:
    """The largest pixels, more than ``above`` of them and few, if a sample tells where they begin; else all."""
    sample = flat[::_SAMPLED].astype(np.float32)  # which partitions five times as fast as integers
    place = max(0, sample.size - 1 - 2 * (above // _SAMPLED + 1))
    candidates = flat[flat >= np.partition(sample, place)[place]]
    return np.asarray(candidates if candidates.size > above else flat, np.float32)


def _laterality(anterior: Pixels, posterior: Pixels) -> float:
    """Difference of Pearson's correlations, see `_centred`; 0 where it cannot be told."""
    if anterior.shape != posterior.shape:
        return 0.0
    front, back = _centred(anterior), _centred(posterior)
    scale = float(np.linalg.norm(front) * np.linalg.norm(back))
    return float(np.vdot(front, cv2.flip(back, 1)) - np.vdot(front, back)) / scale if scale > 0 else 0.0


def _centred(values: Pixels) -> NDArray[np.float32]:
    """Square roots, so that no hot spot decides, of means of 2 x 2 pixels; less their mean."""
    rows, columns = values.shape
    half = max(columns // 2, 1), max(rows // 2, 1)
    counts = cv2.resize(np.asarray(values, np.float32), half, interpolation=cv2.INTER_AREA)
    roots = np.asarray(cv2.sqrt(np.maximum(counts, 0)), np.float32)
    roots -= roots.mean()
    return roots


def _saturated(stored: NDArray[np.generic], view: ExamView | None) -> int:
    if view is None:
        return 0
    header = view.scan.header
    largest = (1 << (header.bits_stored - header.is_signed)) - 1
    if np.asarray(stored).max() < largest:  # nearly always, and quicker to tell
        return 0
    return int(np.count_nonzero(np.asarray(stored) >= largest))


def _is_cut(values: Pixels) -> bool:
    return bool(values[:_EDGE_ROWS].any() and values[-_EDGE_ROWS:].any())


def _pixel_hash(anterior: ViewPixels, posterior: ViewPixels) -> str:
    """Over the values as little-endian integers of 16 bits, or 32 where one needs them: of any encoding the same."""
    digest = xxhash.xxh3_128()
    for view in (anterior, posterior):
        kind = _narrowest(view.stored)
        digest.update(f"{view.stored.shape}{kind}".encode())
        digest.update(np.ascontiguousarray(view.stored, kind).data)
    return digest.hexdigest()


def _narrowest(stored: Pixels) -> str:
    fits = stored.dtype == np.uint16 or (stored.min() >= 0 and stored.max() <= np.iinfo(np.uint16).max)
    return "<u2" if fits else "<i4"
