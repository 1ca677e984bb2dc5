"""Templates of recent headers, so that similar ones are matched instead of walked.

A header with the tags, VRs and lengths of an earlier one has each value at the same offset. Slices of a series and
scans of one camera differ in little but their values.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.dicom.headers import attributes
from bsbatch.dicom.headers.elements import RawValues, Span, Walker

DATASET = 132
"""Offset of the file meta information, after preamble and prefix, PS3.10 section 7.1."""
_BEGINNING = slice(DATASET, DATASET + 68)
"""Usually holds the length of the meta information, the SOP Class UID and the length of the SOP Instance UID."""
_WORD = 8
"""Bytes compared at a time."""
_NEXT = 8
"""Bytes that must match in the element before which the walk stopped."""
_DECISIVE = frozenset({"TransferSyntaxUID", "Modality"})
"""Attributes whose values determine how the rest is walked."""
_MOST_BEGINNINGS, _MOST_ALIKE = 256, 8
_MOST_MISSES, _RARELY = 24, 64
_FEWEST = 2
"""Minimum number of values of a template; every image has more."""


class Walk(NamedTuple):
    """Result of a walk through a header. A tuple, because one is made for every file."""

    raw: RawValues
    start: int
    """Offset of the first byte after the file meta information."""
    stop: int
    """Offset of the first byte that was not walked."""
    is_implicit: bool
    is_wanted: bool
    """True if more than `attributes.OUTLINE` was extracted."""


@dataclass(frozen=True, slots=True)
class _Template:
    end: int
    """Number of bytes that the template covers."""
    is_whole: bool
    """True if the walk reached the end of the file; a file that matches must end there, too."""
    mask: NDArray[np.uint64]
    """Ones in every byte that must match, as words; zeros after `end`."""
    expected: bytes
    """The bytes under the mask."""
    keywords: tuple[str, ...]
    values: Callable[[bytes], tuple[bytes, ...]]
    """Returns the bytes of their values, in the order of `keywords`."""
    outcome: tuple[int, int, bool, bool]
    """Fields of the `Walk` after `Walk.raw`."""

    def matches(self, data: bytes) -> bool:
        """Return True if a file with these first bytes has a header of this template."""
        size = len(data)
        if size < self.end or (self.is_whole and size != self.end):
            return False
        whole_words = data.ljust(self.mask.nbytes, b"\0")
        return (np.frombuffer(whole_words, np.uint64, len(self.mask)) & self.mask).tobytes() == self.expected


class TemplateCache:
    """The templates of recent headers; threads may share it."""

    def __init__(self) -> None:
        self._groups: dict[bytes, _Group] = {}

    def recall(self, data: bytes) -> Walk | None:
        """Return the result that a walk would have, if a template matches the header; else None.

        Parameters
        ----------
        data
            The first bytes of a file.
        """
        group = self._groups.get(data[_BEGINNING])
        if group is None or not group.templates:
            return None
        for template in group.templates:
            if template.matches(data):
                group.misses = 0
                return Walk(dict(zip(template.keywords, template.values(data), strict=True)), *template.outcome)
        return None

    def remember(self, data: bytes, walk: Walk, is_whole: bool) -> None:
        """Add the template of a walked header, unless it is the first one with its `_BEGINNING`.

        Making a template takes longer than a walk. After 24 headers in a row without a match, only every 64th is made.

        Parameters
        ----------
        data, walk
            The first bytes of a file, and the result of the walk through them.
        is_whole
            True if the walk reached the end of the file, and `recall` is given all bytes of such a file.
        """
        end = walk.stop if is_whole else walk.stop + _NEXT
        if end > len(data) or len(walk.raw) < _FEWEST:
            return
        if len(self._groups) >= _MOST_BEGINNINGS:
            self._groups = {}
        group = self._groups.setdefault(data[_BEGINNING], _Group())
        group.misses += 1
        if 1 < group.misses <= _MOST_MISSES:
            group.templates = (_make_template(data[:end], walk, is_whole), *group.templates[: _MOST_ALIKE - 1])
        elif group.misses % _RARELY == 0:
            group.templates = (_make_template(data[:end], walk, is_whole),)


@dataclass(slots=True)
class _Group:
    """Templates of the headers that have the same `_BEGINNING`."""

    templates: tuple[_Template, ...] = ()
    """The most recent first."""
    misses: int = 0
    """Number of headers since the last match."""


def _make_template(data: bytes, walk: Walk, is_whole: bool) -> _Template:
    mask, slices = bytearray(-(-len(data) // _WORD) * _WORD), {}
    for span in _spans(data, walk):
        attribute = attributes.EVERY.get(span.tag)
        is_kept = attribute is not None and attribute.keyword in walk.raw
        if attribute is not None and is_kept:
            slices[attribute.keyword] = slice(span.value, span.end)
        is_fixed = span.is_nested or (attribute is not None and attribute.keyword in _DECISIVE)
        fixed = slice(span.start, span.end if is_fixed else span.value)
        mask[fixed] = b"\xff" * (fixed.stop - fixed.start)
    if not is_whole:
        mask[len(data) - _NEXT : len(data)] = b"\xff" * _NEXT
    words = np.frombuffer(bytes(mask), np.uint64)
    expected = (np.frombuffer(data.ljust(len(mask), b"\0"), np.uint64) & words).tobytes()
    return _Template(len(data), is_whole, words, expected, tuple(slices), itemgetter(*slices.values()), walk[1:])


def _spans(data: bytes, walk: Walk) -> Iterator[Span]:
    yield from Walker(data, is_implicit=False).spans(DATASET, walk.start)
    yield from Walker(data, walk.is_implicit).spans(walk.start, walk.stop)
