"""Headers that are laid out as others before: recognised by one comparison instead of a walk.

Where every tag, VR and length lies as in a header that was walked, the walk would come to the same places. The slices
of a series and the scans of a camera differ in little but their values.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.dicom.headers import attributes
from bsbatch.dicom.headers.elements import Found, Span, Walker

DATASET = 132
"""Where the file meta information begins: behind preamble and prefix, PS3.10 section 7.1."""
_BEGINNING = slice(DATASET, DATASET + 68)
"""The length of the meta information, the SOP Class UID and the length of the SOP Instance UID, as a rule."""
_WORD = 8
"""Bytes that are compared at once."""
_NEXT = 8
"""Bytes of the element in front of which the walk stopped that must be the same."""
_DECISIVE = frozenset({"TransferSyntaxUID", "Modality"})
"""Attributes whose values decide how the rest is walked."""
_MOST_BEGINNINGS, _MOST_ALIKE = 256, 8
_MOST_MISSES, _RARELY = 24, 64
_FEWEST = 2
"""Values that a layout has at least; every image has more."""


class Walk(NamedTuple):
    """What a walk through a header came to; a tuple, for every file has one."""

    found: Found
    start: int
    """First byte behind the file meta information."""
    stop: int
    """First byte that was not walked."""
    is_implicit: bool
    is_wanted: bool
    """Whether more than the outline was walked."""


@dataclass(frozen=True, slots=True)
class _Template:
    end: int
    """Bytes of the file that it speaks of."""
    is_whole: bool
    """Whether the walk came to the end of the file, so that another one must end there, too."""
    mask: NDArray[np.uint64]
    """Ones in every byte that must be as it was, in words; zeros behind `end`."""
    expected: bytes
    """What is there of them."""
    keywords: tuple[str, ...]
    values: Callable[[bytes], tuple[bytes, ...]]
    """What lies at the places of those, in their order."""
    pattern: tuple[int, int, bool, bool]
    """All but the first of what the walk came to."""

    def fits(self, data: bytes) -> bool:
        """Whether a header that begins so is laid out like this."""
        size = len(data)
        if size < self.end or (self.is_whole and size != self.end):
            return False
        whole_words = data.ljust(self.mask.nbytes, b"\0")
        return (np.frombuffer(whole_words, np.uint64, len(self.mask)) & self.mask).tobytes() == self.expected


class TemplateCache:
    """The layouts met lately; threads may share it."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Alike] = {}

    def recall(self, data: bytes) -> Walk | None:
        """What a walk would come to, if the header is laid out as one that was walked.

        Parameters
        ----------
        data
            The first bytes of a file.
        """
        alike = self._known.get(data[_BEGINNING])
        if alike is None or not alike.layouts:
            return None
        for layout in alike.layouts:
            if layout.fits(data):
                alike.misses = 0
                return Walk(dict(zip(layout.keywords, layout.values(data), strict=True)), *layout.pattern)
        return None

    def remember(self, data: bytes, walked: Walk, is_whole: bool) -> None:
        """Keep the layout of a header that was walked, if it is not the first that begins so.

        Making a layout takes longer than walking: where many in a row were new, only one in 64 is made, to try again.

        Parameters
        ----------
        data, walked
            The first bytes of a file, and what the walk through them came to.
        is_whole
            Whether the walk came to the end of a file of which `recall` would be given all bytes.
        """
        end = walked.stop if is_whole else walked.stop + _NEXT
        if end > len(data) or len(walked.found) < _FEWEST:
            return
        if len(self._known) >= _MOST_BEGINNINGS:
            self._known = {}
        alike = self._known.setdefault(data[_BEGINNING], _Alike())
        alike.misses += 1
        if 1 < alike.misses <= _MOST_MISSES:
            alike.layouts = (_make_template(data[:end], walked, is_whole), *alike.layouts[: _MOST_ALIKE - 1])
        elif alike.misses % _RARELY == 0:
            alike.layouts = (_make_template(data[:end], walked, is_whole),)


@dataclass(slots=True)
class _Alike:
    """Headers that begin with the same bytes."""

    layouts: tuple[_Template, ...] = ()
    """The latest first."""
    misses: int = 0
    """How many in a row were laid out as none of them."""


def _make_template(data: bytes, walked: Walk, is_whole: bool) -> _Template:
    mask, places = bytearray(-(-len(data) // _WORD) * _WORD), {}
    for span in _spans(data, walked):
        attribute = attributes.EVERY.get(span.tag)
        is_kept = attribute is not None and attribute.keyword in walked.found
        if attribute is not None and is_kept:
            places[attribute.keyword] = slice(span.value, span.end)
        is_fixed = span.is_nested or (attribute is not None and attribute.keyword in _DECISIVE)
        fixed = slice(span.start, span.end if is_fixed else span.value)
        mask[fixed] = b"\xff" * (fixed.stop - fixed.start)
    if not is_whole:
        mask[len(data) - _NEXT : len(data)] = b"\xff" * _NEXT
    words = np.frombuffer(bytes(mask), np.uint64)
    expected = (np.frombuffer(data.ljust(len(mask), b"\0"), np.uint64) & words).tobytes()
    return _Template(len(data), is_whole, words, expected, tuple(places), itemgetter(*places.values()), walked[1:])


def _spans(data: bytes, walked: Walk) -> Iterator[Span]:
    yield from Walker(data, is_implicit=False).spans(DATASET, walked.start)
    yield from Walker(data, walked.is_implicit).spans(walked.start, walked.stop)
