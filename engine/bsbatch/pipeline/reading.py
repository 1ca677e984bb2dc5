"""Reads the views of objects: their pixels for a score, or digests that find copies."""

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import xxhash

from bsbatch.dicom.copies import Digests
from bsbatch.dicom.pixels import decode_confined, needs_codec, read_encoded, read_frames
from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.host.threads import Budget
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.verdicts import verdict_of
from bsbatch.protocols import Source
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict
from bsbatch.records import Header, ScanObject
from bsbatch.view_pixels import ViewPixels, can_rescale

_LARGE = Budget(limits.LARGE_PIXELS)
"""Pixels of large objects that may be in memory, of all runs of this process."""


def read_views(source: Source, isolation: Isolation, scan: ScanObject, *frames: int) -> tuple[ViewPixels, ...]:
    """Read frames of an object; decoders that may crash run in a process of their own.

    Raises
    ------
    ItemError
        The pixels cannot be read or decoded, or their counts are not finite.
    WorkerLostError
        A decoder crashed.
    OSError
        The file system gave an error.
    """
    header = scan.header
    is_rescaled = header.rescale != (1.0, 0.0) and not header.has_modality_lut
    if is_rescaled:
        _check_finite(can_rescale(*header.rescale))
    with source.open(scan.ref) as stream:
        if needs_codec(header):
            seconds = limits.decoder_seconds(_pixels_of(header))
            views = isolation.call_within(seconds, decode_confined, read_encoded(stream, header), header, frames)
        else:
            views = read_frames(stream, header, frames)
    if is_rescaled:
        _check_finite(all(view.is_finite for view in views))
    return views


def await_turn(*scans: ScanObject) -> AbstractContextManager[None]:
    """Block until there is memory for the pixels of objects: of large ones, few are read at once."""
    pixels = sum(map(_pixels_of, {scan.ref.source: scan.header for scan in scans}.values()))
    return _LARGE.spend(pixels) if pixels > limits.SMALL_PIXELS else nullcontext()


def read_digests(source: Source, isolation: Isolation, scan: ScanObject) -> Digests | Verdict:
    """Return a digest of the counts of each view, whatever their encoding; a verdict if they cannot be read."""
    with await_turn(scan):
        try:
            views = read_views(source, isolation, scan, *(item.frame for item in scan.frames))
        except Exception as error:  # a bug costs one object, not the run
            return verdict_of(Stage.PIXELS, error)
        return {item.view: _digest(pixels) for item, pixels in zip(scan.frames, views, strict=True)}


def _pixels_of(header: Header) -> int:
    return header.rows * header.columns * header.frames


def _check_finite(is_finite: bool) -> None:
    if not is_finite:
        raise ItemError(Reason.COUNTS_NOT_FINITE, EXPLANATIONS[Reason.COUNTS_NOT_FINITE])


def _digest(pixels: ViewPixels) -> str:
    counts = np.ascontiguousarray(pixels.counts)
    return f"{counts.shape}{xxhash.xxh3_128_hexdigest(counts.data)}" if counts.min() < counts.max() else ""
