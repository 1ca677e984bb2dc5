"""Samples in the containers of pixel data, PS3.5 section 8.1.1, and the padding among them.

A sample occupies Bits Stored bits, of which High Bit is the most significant. The other bits of its container hold
overlays or nothing, so they are removed, whatever the encoding.
"""

import numpy as np
from numpy.typing import NDArray

from bsbatch.records import Header
from bsbatch.view_pixels import LookupTable, ViewPixels

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_MONOCHROME1 = "MONOCHROME1"
_DISPLAY_BITS = 8
_NO_PADDING = (), (0,), (0, 0)
"""Padding that changes no sample which is its own count."""
_SIGN_16 = 1 << 15


def is_plain(header: Header) -> bool:
    """Return True if containers up to `largest_plain` are samples, and samples are counts."""
    form = header.rescale, header.has_modality_lut, header.high_bit
    is_display = header.photometric == _MONOCHROME1 and is_inverted(header)
    return form == ((1.0, 0.0), False, header.bits_stored - 1) and not is_display


def largest_plain(header: Header) -> int:
    """Largest container of an unsigned `is_plain` object that is neither padding nor has unused bits that are set."""
    largest = (1 << header.bits_stored) - 1
    return largest if header.padding in _NO_PADDING else min(largest, max(min(header.padding) - 1, 0))


def is_inverted(header: Header) -> bool:
    """Return True if MONOCHROME1 says that large values are few counts.

    Secondary Capture of at most 8 bits is a display. Everything else holds counts, whose display does not matter.
    """
    if header.photometric != _MONOCHROME1 or header.bits_stored > _DISPLAY_BITS:
        return False
    return (header.sop_class or "").startswith(_SECONDARY_CAPTURE)


def view_of(
    containers: NDArray[np.generic],
    header: Header,
    table: LookupTable | None = None,
    precision: int | None = None,
) -> ViewPixels:
    """Extract the samples of a view and replace its padding.

    Parameters
    ----------
    containers
        ``(rows, columns)`` integers of Bits Allocated bits, of either sign.
    header, table
        Header and Modality LUT of the object.
    precision
        Bits of a sample in the code stream that the containers were decoded from, None if it has none. It matters if
        High Bit leaves bits below the samples: decoders return such samples shifted or not.
    """
    kind = containers.dtype
    is_whole = header.bits_stored == 8 * kind.itemsize and kind.kind == "u" and not header.is_signed
    if is_whole and header.padding in _NO_PADDING and is_plain(header):
        return ViewPixels(containers)
    typed = _typed(containers, header.is_signed)
    samples = _samples(typed, header, precision)
    is_padding = _find_padding(typed, samples, header)
    slope, intercept = header.rescale if table is None else (1.0, 0.0)
    if is_inverted(header):
        samples, table = _invert(samples, table, header)
    view = ViewPixels(samples, slope, intercept, table)
    return view if is_padding is None else _replace(view, is_padding, header)


def _typed(containers: NDArray[np.generic], is_signed: bool) -> NDArray[np.integer]:
    kind = containers.dtype
    wanted = np.dtype(f"{kind.byteorder}{'i' if is_signed else 'u'}{kind.itemsize}")
    return containers.view(wanted)


def _samples(typed: NDArray[np.integer], header: Header, precision: int | None) -> NDArray[np.integer]:
    """Shift the sample to the upper end of its container and back, which extends its sign."""
    bits, high_bit = 8 * typed.dtype.itemsize, header.high_bit
    if header.bits_stored == bits:
        return typed
    if high_bit != header.bits_stored - 1 and (precision or bits) <= high_bit:
        high_bit = header.bits_stored - 1  # the decoder returns samples, not containers
    raised = np.left_shift(typed, bits - 1 - high_bit)
    return np.asarray(np.right_shift(raised, bits - header.bits_stored, out=raised))


def _find_padding(typed: NDArray[np.integer], samples: NDArray[np.integer], header: Header) -> NDArray[np.bool_] | None:
    """Pixels from Pixel Padding Value to Pixel Padding Range Limit, PS3.3 section C.7.5.1.1.2; None without padding.

    A value that no sample can have is compared with whole containers.
    """
    if not header.padding:
        return None
    ends = [value - (2 * _SIGN_16 if header.is_signed and value >= _SIGN_16 else 0) for value in header.padding]
    low, high = min(ends), max(ends)
    least, most = _range(header)
    compared = samples if least <= low and high <= most else typed
    return np.asarray((compared >= low) & (compared <= high))


def _invert(
    samples: NDArray[np.integer], table: LookupTable | None, header: Header
) -> tuple[NDArray[np.integer], LookupTable | None]:
    """Exchange the smallest and the largest sample, or the smallest and the largest counts of a table."""
    if table is not None:
        return samples, LookupTable(table.first, table.entries.max() - table.entries)
    return np.asarray(sum(_range(header)) - samples), None


def _replace(view: ViewPixels, is_padding: NDArray[np.bool_], header: Header) -> ViewPixels:
    nothing = np.asarray(_sample_of_no_counts(view, header), view.stored.dtype)
    if not (is_padding & (view.stored != nothing)).any():
        return view
    return view._replace(stored=np.where(is_padding, nothing, view.stored), has_padding=True)


def _sample_of_no_counts(view: ViewPixels, header: Header) -> int:
    """Sample whose counts are 0, or as close to it as a sample can be."""
    least, most = _range(header)
    if view.table is not None:
        return min(max(view.table.first + int(view.table.entries.argmin()), least), most)
    return round(min(max(-view.intercept / view.slope, least), most))


def _range(header: Header) -> tuple[int, int]:
    """Smallest and largest sample."""
    values = 1 << header.bits_stored
    return (-values // 2, values // 2 - 1) if header.is_signed else (0, values - 1)
