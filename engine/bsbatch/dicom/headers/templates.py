"""Templates of recent headers, so that similar ones are matched instead of walked.

A header with the tags, VRs and lengths of an earlier one has each value at the same offset. Slices of a series and
scans of one camera differ in little but their values.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.dicom.headers import attributes
from bsbatch.dicom.headers.elements import Span, Walker

Values = tuple[bytes, ...]
"""Undecoded values of attributes; empty where one is absent."""

DATASET = 132
"""Offset of the file meta information, after preamble and prefix, PS3.10 section 7.1."""
_BEGINNING = slice(DATASET, DATASET + 68)
"""Usually holds the length of the meta information, the SOP Class UID and the length of the SOP Instance UID."""
_WORD = 8
"""Bytes compared at a time."""
_NEXT = 8
"""Bytes that must match in the element before which the walk stopped."""
_DECISIVE = frozenset({"TransferSyntaxUID", "Modality", "SOPClassUID", "MediaStorageSOPClassUID"})
"""Attributes whose values determine how, and how far, the rest is walked."""
_ABSENT = slice(0)
_MOST_BEGINNINGS, _MOST_ALIKE = 256, 8
_MOST_MISSES, _RARELY = 24, 64


class Walk(NamedTuple):
    """Result of a walk through a header. A tuple, because one is made for every file."""

    own: Values
    """Of the attributes in which the objects of a series or of a camera differ, `attributes.Order.own`."""
    shared: Values
    """Of those that they share. It is the same tuple for objects that follow each other and are alike in them."""
    start: int
    """Offset of the first byte after the file meta information."""
    stop: int
    """Offset of the first byte that was not walked."""
    is_implicit: bool
    is_wanted: bool
    """True if more than `attributes.OUTLINE` was extracted."""


@dataclass(slots=True)
class _Template:
    end: int
    """Number of bytes that the template covers."""
    is_whole: bool
    """True if the walk reached the end of the file; a file that matches must end there, too."""
    mask: NDArray[np.uint64]
    """Ones in every byte that must match, as words; zeros after `end`."""
    expected: bytes
    """The bytes under the mask."""
    mask_of_shared: NDArray[np.uint64]
    """Ones also in the bytes of shared values."""
    own: Callable[[bytes], Values]
    shared: Callable[[bytes], Values]
    """Return the values of the `Walk`."""
    outcome: tuple[int, int, bool, bool]
    """Fields of the `Walk` after its values."""
    latest: tuple[bytes, Values] = field(default=(b"", ()))
    """The bytes under `mask_of_shared` in the latest header, and its shared values."""

    def recall(self, data: bytes) -> Walk | None:
        """Return what a walk would, if a file with these first bytes has a header of this template."""
        size = len(data)
        if size < self.end or (self.is_whole and size != self.end):
            return None
        words = np.frombuffer(data.ljust(self.mask.nbytes, b"\0"), np.uint64, len(self.mask))
        alike, shared = self.latest
        if (words & self.mask_of_shared).tobytes() != alike:
            if (words & self.mask).tobytes() != self.expected:
                return None
            shared = self.shared(data)
            self.latest = (words & self.mask_of_shared).tobytes(), shared
        return Walk(self.own(data), shared, *self.outcome)


class TemplateCache:
    """The templates of recent headers, all walked with one choice of attributes; threads may share it."""

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
            walk = template.recall(data)
            if walk is not None:
                group.misses = 0
                return walk
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
        if end > len(data):
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
    order = attributes.ORDER if walk.is_wanted else attributes.ORDER_OF_OUTLINE
    fixed, shared = bytearray(len(data)), bytearray(len(data))
    slices: dict[str, slice] = {}
    for span in _spans(data, walk):
        keyword = attributes.EVERY[span.tag].keyword if span.tag in attributes.EVERY else ""
        is_fixed = span.is_nested or keyword in _DECISIVE
        _mark(fixed, slice(span.start, span.end if is_fixed else span.value))
        if keyword in order.own or keyword in order.shared:
            slices[keyword] = slice(span.value, span.end)
            _mark(shared, slices[keyword] if keyword in order.shared else _ABSENT)
    if not is_whole:
        _mark(fixed, slice(len(data) - _NEXT, len(data)))
    mask = _to_words(fixed)
    return _Template(
        end=len(data),
        is_whole=is_whole,
        mask=mask,
        expected=(_to_words(data) & mask).tobytes(),
        mask_of_shared=mask | _to_words(shared),
        own=_getter(order.own, slices),
        shared=_getter(order.shared, slices),
        outcome=walk[2:],
    )


def _mark(mask: bytearray, part: slice) -> None:
    mask[part] = b"\xff" * len(mask[part])


def _to_words(data: bytes | bytearray) -> NDArray[np.uint64]:
    return np.frombuffer(bytes(data) + bytes(-len(data) % _WORD), np.uint64)


def _getter(keywords: tuple[str, ...], slices: Mapping[str, slice]) -> Callable[[bytes], Values]:
    return itemgetter(*(slices.get(keyword, _ABSENT) for keyword in keywords))


def _spans(data: bytes, walk: Walk) -> Iterator[Span]:
    yield from Walker(data, is_implicit=False).spans(DATASET, walk.start)
    yield from Walker(data, walk.is_implicit).spans(walk.start, walk.stop)
