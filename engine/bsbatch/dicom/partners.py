"""Finds the partner of each single view of a study, or says that nothing distinguishes the candidates.

Two views can be of one scan only if nothing contradicts it: not their days, not their phases ("4 H", "late"), and not
their times, which are at most an hour apart. Beyond half a minute, or without times, they must share series or Frame of
Reference. Among several candidates the evidence decides; candidates that it does not separate stay without a
partner. Names, numbers and the order of files are no evidence. So the result depends on the set of views alone.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from bsbatch.dicom.moments import are_of_other_days, gap_between, have_other_content_dates
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Header, ScanObject

_SIMULTANEOUS, _CLOSE, _LONGEST = 5.0, 30.0, 3600.0
"""Seconds between the two views: both heads at once, clocks that differ, and one head after the other.

A view that is stopped and begun again begins a minute later or more.
"""
_RELATIVE = 0.01
"""Tolerance of measured values: pixel spacing and scan length."""

Pair = tuple[ScanObject, ScanObject]
Test = Callable[[ScanObject, ScanObject], bool]


@dataclass(frozen=True, slots=True)
class Matching:
    """The single views of one patient in one study, each in exactly one place."""

    pairs: list[Pair] = field(default_factory=list)
    tangles: list[list[ScanObject]] = field(default_factory=list)
    """Views of several scans that nothing separates, at least two in each."""
    alone: list[ScanObject] = field(default_factory=list)
    """Views without a candidate."""


def match(views: Sequence[ScanObject]) -> Matching:
    """Match single views of one patient in one study.

    Parameters
    ----------
    views
        Objects of one frame each, in an order that is the same for the same set.
    """
    candidates, matching = _find_candidates(views), Matching()
    while pairs := _certain_pairs(views, candidates):
        for one, other in pairs:
            matching.pairs.append((views[one], views[other]))
            for gone in (one, other):
                for left in candidates.pop(gone):
                    candidates.get(left, set()).discard(gone)
    for group in _groups(candidates):
        found = [views[number] for number in sorted(group)]
        if len(found) > 1:
            matching.tangles.append(found)
        else:
            matching.alone.extend(found)
    return matching


def mismatch(one: ScanObject, other: ScanObject) -> Verdict | None:
    """Return the verdict on two views of different matrix, pixel spacing, camera or scan length; else None.

    An absent value contradicts nothing, and measured ones may differ by a hundredth.
    """
    first, second = one.header, other.header
    is_same = (
        (first.rows, first.columns) == (second.rows, second.columns)
        and _agree(first.manufacturer, second.manufacturer)
        and _agree(first.model_name, second.model_name)
        and _is_near(first.scan_length, second.scan_length)
        and _is_same_spacing(first, second)
    )
    return None if is_same else Verdict.of(Stage.PAIRING, Reason.MATRIX_MISMATCH)


def is_simultaneous(one: ScanObject, other: ScanObject) -> bool:
    """Return True if two objects have times at most five seconds apart."""
    gap = gap_between(one.header, other.header)
    return gap is not None and gap <= _SIMULTANEOUS


def shares_group(one: ScanObject, other: ScanObject) -> bool:
    """Return True if two objects have the same series or the same Frame of Reference."""
    return _shares_series(one, other) or _shares_reference(one, other)


def _find_candidates(views: Sequence[ScanObject]) -> dict[int, set[int]]:
    """Return the possible partners of each view, all by their index."""
    candidates: dict[int, set[int]] = {number: set() for number in range(len(views))}
    for number, other in combinations(range(len(views)), 2):
        if _can_be_one_scan(views[number], views[other]):
            candidates[number].add(other)
            candidates[other].add(number)
    return candidates


def _certain_pairs(views: Sequence[ScanObject], candidates: dict[int, set[int]]) -> list[tuple[int, int]]:
    """Return the pairs in which each view is the other's only best candidate."""
    is_labelled = _test_labels([views[number] for number in candidates])
    best = {number: _best(views, number, others, is_labelled) for number, others in candidates.items()}
    return [(one, other) for one, other in best.items() if other is not None and one < other and best[other] == one]


def _best(views: Sequence[ScanObject], number: int, others: set[int], is_labelled: Test) -> int | None:
    """Return the candidate for which all evidence speaks most; None if several are equal or evidence disagrees."""
    identifiers = _shares_series, _shares_reference
    first = _narrow(views, number, others, (_fits, is_simultaneous, *identifiers, is_labelled))
    second = _narrow(views, number, others, (_fits, *identifiers, is_simultaneous, is_labelled))
    return next(iter(first)) if len(first) == 1 and first == second else None


def _narrow(views: Sequence[ScanObject], number: int, others: set[int], tests: Sequence[Test]) -> set[int]:
    left = others
    for test in tests:
        left = {other for other in left if test(views[number], views[other])} or left
    return left


def _can_be_one_scan(one: ScanObject, other: ScanObject) -> bool:
    if one.frames[0].view is other.frames[0].view or _contradicts(one, other):
        return False
    gap = gap_between(one.header, other.header)
    if gap is None:
        return shares_group(one, other) and not are_of_other_days(one.header, other.header)
    return gap <= _CLOSE or (gap <= _LONGEST and shares_group(one, other))


def _contradicts(one: ScanObject, other: ScanObject) -> bool:
    """Return True if texts name different phases ("4 H" is no partner of "24 H"), or Content Dates other days."""
    first, second = one.label.phases, other.label.phases
    return bool(first and second and not first & second) or have_other_content_dates(one.header, other.header)


def _test_labels(views: Sequence[ScanObject]) -> Test:
    """Return a test for equal texts. It holds only if each text belongs to exactly one view from either side."""
    counts = Counter((view.label.words, view.frames[0].view) for view in views)
    sides = Counter(words for words, _ in counts)
    if any(count > 1 for count in counts.values()) or any(count == 1 for count in sides.values()):
        return lambda _one, _other: False
    return lambda one, other: one.label.words == other.label.words


def _fits(one: ScanObject, other: ScanObject) -> bool:
    return mismatch(one, other) is None


def _shares_series(one: ScanObject, other: ScanObject) -> bool:
    return one.header.series_uid is not None and one.header.series_uid == other.header.series_uid


def _shares_reference(one: ScanObject, other: ScanObject) -> bool:
    reference = one.header.frame_of_reference_uid
    return reference is not None and reference == other.header.frame_of_reference_uid


def _agree(first: str | None, second: str | None) -> bool:
    return not first or not second or first.casefold() == second.casefold()


def _is_near(first: float | None, second: float | None) -> bool:
    if not first or not second or first < 0 or second < 0:
        return True
    return abs(first - second) <= _RELATIVE * max(first, second)


def _is_same_spacing(first: Header, second: Header) -> bool:
    if first.pixel_spacing is None or second.pixel_spacing is None:
        return True
    return all(_is_near(one, other) for one, other in zip(first.pixel_spacing, second.pixel_spacing, strict=True))


def _groups(candidates: dict[int, set[int]]) -> list[set[int]]:
    """Return the views that are connected by candidates, each in one group."""
    left, groups = set(candidates), []
    while left:
        group, fresh = set[int](), {min(left)}
        while fresh:
            group |= fresh
            fresh = {other for number in fresh for other in candidates[number]} - group
        groups.append(group)
        left -= group
    return groups
