"""Formats plain values as text."""

from collections.abc import Mapping

from bsbatch_build.card.metrics import Estimate

_UNDEFINED = "-"


def words(value: object) -> str:
    """Format a value on one line: ``1, 2`` for lists, ``a 1; b 2`` for mappings, nested ones in brackets."""
    if value is None:
        return _UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name_of(name)} {_in_brackets(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_in_brackets(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def name_of(key: str) -> str:
    """Format a key for readers: spaces instead of underscores."""
    return key.replace("_", " ")


def with_interval(metric: Estimate) -> str:
    """Format a metric with three decimals, followed by its interval."""
    if metric.value is None or metric.low is None:
        return _number(metric.value)
    return f"{_number(metric.value)} ({_number(metric.low)} to {_number(metric.high)})"


def _number(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.3f}"


def _in_brackets(value: object) -> str:
    return f"({words(value)})" if isinstance(value, Mapping | list | tuple) else words(value)
