"""Plain values in words."""

from collections.abc import Mapping
from typing import Any

_UNDEFINED = "-"


def words(value: Any) -> str:
    """A value on one line: ``1, 2`` for lists, ``a 1; b 2`` for mappings, nested ones in brackets."""
    if value is None:
        return _UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name_of(name)} {_nested(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_nested(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def name_of(key: str) -> str:
    """A key as it is read."""
    return key.replace("_", " ")


def with_interval(figure: Mapping[str, float | None]) -> str:
    """A figure of ``metrics.json`` with three decimals and its interval."""
    if figure["value"] is None or figure["low"] is None:
        return _number(figure["value"])
    return f"{_number(figure['value'])} ({_number(figure['low'])} to {_number(figure['high'])})"


def _number(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.3f}"


def _nested(value: Any) -> str:
    return f"({words(value)})" if isinstance(value, Mapping | list | tuple) else words(value)
