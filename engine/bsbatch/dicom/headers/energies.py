"""Energy windows out of the undecoded values of their attributes, for both header readers.

A number may have a decimal comma or a unit. A value without a number in it is unreadable, which is another thing than
absent. Energies are in keV (PS3.3 C.8.4.10); values that no gamma camera can measure in keV are in eV or in MeV.
"""

import re
from collections.abc import Iterable, Iterator

from bsbatch.records import EnergyRange

Raw = bytes | None
"""Value of an attribute; None if it is absent."""

_NUMBER = re.compile(r"([+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:E[+-]?[0-9]{1,2})?)\s*(?:KEV)?", re.IGNORECASE)
_MOST_KEV, _LEAST_KEV = 10_000.0, 2.0
"""An upper limit above the first is in eV; one below the second is in MeV."""
_HIGHEST, _LOWEST = 3000.0, 10.0
"""Upper limits of gamma cameras, keV."""
_USUAL_WIDTH = 0.2
"""Width of a window in parts of its centre, where only the centre is given."""


def range_of(lower: Raw, upper: Raw, centre: Raw = None, width: Raw = None) -> tuple[EnergyRange | None, ...]:
    """Read one range: none if it is not known, None if it is unreadable.

    Zero and less are placeholders for an unknown limit; where all that is given is zero, the range is unreadable.
    Reversed limits are exchanged. A single limit leaves the range open on its other side.

    Parameters
    ----------
    lower, upper
        (0054,0014) Energy Window Lower Limit and (0054,0015) Energy Window Upper Limit.
    centre, width
        Retired (0018,0032) Energy Window Centerline and (0018,0033) Energy Window Total Width, used without limits.
    """
    try:
        limits = _number(lower), _number(upper)
        if not any(limits):
            limits = _around(_number(centre), _number(width))
    except ValueError:
        return (None,)
    known = [limit for limit in limits if limit]
    if not known and any(map(_is_given, (lower, upper, centre))):
        return (None,)
    if not known:
        return ()
    low, high = (limits[0], limits[1] or _HIGHEST) if len(known) == 1 else (min(known), max(known))
    unit = _unit(max(known))
    high = high * unit if limits[1] else high
    return ((low * unit, high),) if _LOWEST <= max(known) * unit <= _HIGHEST else (None,)


def ranges_of(limits: Iterable[tuple[Raw, Raw, Raw, Raw]], centre: Raw, width: Raw) -> tuple[EnergyRange | None, ...]:
    """Read the ranges of one window: those of its items, else the one around the centre of the window."""
    found = tuple(energies for values in limits for energies in range_of(*values))
    return found if any(found) else range_of(None, None, centre, width) or found


def windows_of(
    windows: tuple[tuple[EnergyRange | None, ...], ...], centre: Raw, width: Raw
) -> tuple[tuple[EnergyRange | None, ...], ...]:
    """Return the windows of Energy Window Information Sequence; those at the root if it gives no energy."""
    if any(map(any, windows)):
        return windows
    found = tuple(range_of(None, None, *pair) for pair in _pairs(centre, width))
    return found if any(found) else windows


def _pairs(centre: Raw, width: Raw) -> Iterator[tuple[bytes, Raw]]:
    centres, widths = (centre or b"").split(b"\\"), (width or b"").split(b"\\")
    for number, value in enumerate(centres):
        yield value, widths[min(number, len(widths) - 1)]


def _around(centre: float, width: float) -> tuple[float, float]:
    half = (width or centre * _USUAL_WIDTH) / 2
    return (centre - half, centre + half) if centre else (0.0, 0.0)


def _is_given(value: Raw) -> bool:
    return bool((value or b"").strip(b" \0\t\r\n"))


def _unit(highest: float) -> float:
    if highest > _MOST_KEV:
        return 1e-3
    return 1e3 if highest < _LEAST_KEV else 1.0


def _number(value: Raw) -> float:
    """Return the first value; zero if it is absent, empty or below zero.

    Raises
    ------
    ValueError
        It is no number.
    """
    text = (value or b"").decode("latin-1").partition("\\")[0].strip(" \0\t\r\n")
    if not text:
        return 0.0
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError
    return max(0.0, float(match[1].replace(",", ".")))
