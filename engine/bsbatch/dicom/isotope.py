"""Radionuclide, radiopharmaceutical and time from injection, from the NM Isotope Module (PS3.3 C.8.4.10).

Codes decide, then the texts beside them. A text reaches a row only as one of the names of `bsbatch.tracers.names`,
because free text may hold patient data.
"""

from collections.abc import Iterable
from functools import lru_cache

from bsbatch.dicom.labels import named_phases
from bsbatch.dicom.moments import DAY, acquisition, day_of, seconds_of
from bsbatch.records import Header
from bsbatch.tracers.names import (
    BONE_TRACERS,
    OTHER,
    TC_99M,
    names_other_tracer,
    nuclide_of_code,
    nuclide_of_pharmaceutical,
    nuclides_in,
    pharmaceutical_of_code,
    pharmaceutical_of_text,
)
from bsbatch.tracers.record import UNKNOWN_TRACER, Drug, Tracer

_REMEMBERED = 256
_EARLY_MINUTES = 90.0
"""A bone scan begins two hours or more after the injection (EANM practice guideline, 2016)."""
_MOST_MINUTES = 7 * 1440.0
_MOST_OVER_MIDNIGHT = 720.0
"""Longest time over midnight if only the times of day are known; more means an injection after the scan."""


def identify(header: Header) -> Tracer:
    """Return the tracer that a header names; None for everything that it does not say."""
    is_early, is_other = _read_descriptions(header.image_ids + header.descriptions)
    if not header.drugs:
        return Tracer(is_other=is_other, is_early=is_early) if is_early or is_other else UNKNOWN_TRACER
    finding, number = _judge(tuple(drug[:4] for drug in header.drugs))
    nuclide, pharmaceutical, is_named_other = finding
    minutes = _minutes(header.drugs[number], header)
    is_early = is_early or (minutes is not None and minutes < _EARLY_MINUTES)
    is_other = is_named_other or (is_other and pharmaceutical is None)
    return Tracer(nuclide, pharmaceutical, minutes, is_other, is_early)


def is_other_nuclide(tracer: Tracer) -> bool:
    """Return True if the header names a nuclide, and not Tc-99m."""
    return tracer.radionuclide not in {None, TC_99M}


_Names = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Fields of a `Drug` before its times."""
_Finding = tuple[str | None, str | None, bool]
"""Nuclide, pharmaceutical, and True if it is another tracer than a bone tracer with Tc-99m."""


@lru_cache(_REMEMBERED)
def _judge(drugs: tuple[_Names, ...]) -> tuple[_Finding, int]:
    """Return the finding of the drug that is most like a bone tracer, and its index."""
    findings = [_judge_one(*drug) for drug in drugs]
    number = min(range(len(findings)), key=lambda index: _rank(findings[index]))
    return findings[number], number


def _judge_one(
    nuclide_codes: tuple[str, ...], nuclide_texts: tuple[str, ...], codes: tuple[str, ...], texts: tuple[str, ...]
) -> _Finding:
    names = [name for code in codes if (name := pharmaceutical_of_code(code)) is not None]
    names += [name for text in texts if (name := pharmaceutical_of_text(text)) is not None]
    pharmaceutical = min(names, key=_strangeness, default=None)
    by_code = {name for code in nuclide_codes if (name := nuclide_of_code(code)) is not None}
    by_text, by_name = _nuclides_in(nuclide_texts), _nuclides_in(texts)
    nuclide = next((_first(found) for found in (by_code, by_text, by_name) if found), None)
    nuclide = nuclide or nuclide_of_pharmaceutical(pharmaceutical)
    is_other = nuclide not in {None, TC_99M} or pharmaceutical not in BONE_TRACERS | {None}
    return nuclide, pharmaceutical, is_other or (bool(by_name) and TC_99M not in by_name)


def _nuclides_in(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for text in texts for name in nuclides_in(text))


def _first(nuclides: Iterable[str]) -> str:
    return min(nuclides, key=lambda name: (name != TC_99M, name))


def _strangeness(pharmaceutical: str) -> int:
    return 0 if pharmaceutical in BONE_TRACERS else 1 + (pharmaceutical == OTHER)


def _rank(finding: _Finding) -> int:
    nuclide, pharmaceutical, is_other = finding
    if nuclide is None:
        return 5 if pharmaceutical is None else 4 * is_other
    if nuclide != TC_99M:
        return 3
    return 1 + is_other if pharmaceutical not in BONE_TRACERS else 0


@lru_cache(_REMEMBERED)
def _read_descriptions(texts: tuple[str, ...]) -> tuple[bool, bool]:
    """Return True for a flow or blood pool phase, and True for another tracer than those of bone scans."""
    named = named_phases(" ".join(texts))
    return named == {"early"}, any(map(names_other_tracer, texts))


def _minutes(drug: Drug, header: Header) -> float | None:
    """Minutes from injection to acquisition; None if unknown, negative or absurd. Midnight may lie between them."""
    scanned, day = seconds_of(header.acquisition_time), day_of(header.acquisition_date)
    start_date, start_time = acquisition(None, None, drug.start_datetime)
    date, time = day_of(start_date), seconds_of(start_time)
    injected = seconds_of(drug.start_time)
    if scanned is None:
        return None
    if day is not None and date is not None and time is not None:
        return _plausible(((day - date) * DAY + scanned - time) / 60, _MOST_MINUTES)
    if injected is None:
        return None
    minutes = (scanned - injected) / 60
    return _plausible(minutes, _MOST_MINUTES) if minutes >= 0 else _plausible(minutes + 1440.0, _MOST_OVER_MIDNIGHT)


def _plausible(minutes: float, most: float) -> float | None:
    """Return the minutes, None if they cannot be: zero, because some writers copy the time of the scan."""
    return minutes if 0.0 < minutes <= most else None
