"""Reads the ``metrics.json`` of ``bsbatch evaluate`` for the model of a card."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bsbatch.errors import UsageError
from bsbatch.evaluation.metrics_json import VERSION

FILE = "metrics.json"
_PARTS = frozenset({"settings", "counts", "metrics", "operating_points", "subgroups", "run_status"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its interval; None if it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ReportedPoint:
    """A threshold with its metrics."""

    threshold: float
    rule: str
    """Origin of the threshold, in words."""
    metrics: Mapping[str, Estimate]
    confusion: Mapping[str, int]
    """``true_positives``, ``false_negatives``, ``false_positives``, ``true_negatives``."""

    @classmethod
    def parse(cls, point: Mapping[str, Any]) -> Self:
        """Read an entry of ``operating_points``."""
        counts = {name: count for name, count in point["confusion"].items() if isinstance(count, int)}
        return cls(point["threshold"], point["rule"], _parse_estimates(point["metrics"]), counts)


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Examinations of one centre, manufacturer or lesion load."""

    n: int
    positives: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class Decision:
    """A threshold of the decision curve."""

    threshold: float
    net_benefit: Estimate
    treat_all: float
    """Net benefit of calling all examinations positive."""


@dataclass(frozen=True, slots=True)
class ReportedEvaluation:
    """An evaluation as far as a card quotes it."""

    run_status: str | None
    config_hash: str
    counts: Mapping[str, int]
    """``n``, ``positives``, ``negatives``, ``patients`` and ``studies``, among others."""
    unmatched: Mapping[str, int]
    """Kind of a result or label that was left out -> count."""
    settings: Mapping[str, str]
    """As in the file, in words."""
    confidence: float
    """Level of the intervals, in [0, 1]."""
    prevalence: float
    """Prevalence of PPV and NPV, in [0, 1]."""
    metrics: Mapping[str, Estimate]
    operating_points: Mapping[str, ReportedPoint]
    subgroups: Mapping[str, Mapping[str, Subgroup]]
    decisions: tuple[Decision, ...]
    """At the thresholds of the decision curve that the content holds."""

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self:
        """Read the content of ``metrics.json``; the curves may be missing."""
        counts, settings = dict(content["counts"]), content["settings"]
        unmatched = counts.pop("unmatched")
        points, subgroups = content["operating_points"], content["subgroups"]
        return cls(
            content["run_status"],
            content["config_hash"],
            counts,
            unmatched,
            {name: str(value) for name, value in settings.items()},
            settings["confidence"],
            settings["prevalence"],
            _parse_estimates(content["metrics"]),
            {name: ReportedPoint.parse(point) for name, point in points.items()},
            {kind: _parse_subgroups(groups) for kind, groups in subgroups.items()},
            tuple(_parse_decisions(content.get("decision_curve", {}))),
        )


def _parse_estimates(metrics: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(entry["value"], entry["low"], entry["high"]) for name, entry in metrics.items()}


def _parse_decisions(curve: Mapping[str, Any]) -> Iterator[Decision]:
    columns = [curve.get(name, []) for name in ("threshold", "net_benefit", "low", "high", "treat_all")]
    for threshold, value, low, high, treat_all in zip(*columns, strict=True):
        yield Decision(threshold, Estimate(value, low, high), treat_all)


def _parse_subgroups(groups: Mapping[str, Any]) -> dict[str, Subgroup]:
    return {
        name: Subgroup(group["n"], group["positives"], _parse_estimates(group["metrics"]))
        for name, group in groups.items()
    }


def read_metrics(path: Path, model_id: str) -> dict[str, Any]:
    """Read and check the content of ``metrics.json``.

    Parameters
    ----------
    path
        ``metrics.json``, or the folder of the report.
    model_id
        The model of the card, which must have made the scores.

    Raises
    ------
    UsageError
        The file cannot be read, is of another version, or belongs to another model.
    """
    file = path / FILE if path.is_dir() else path
    content = _read(file)
    if content.get("model_id") != model_id:
        raise UsageError(
            f"{file} is of model {content.get('model_id')}, and this is {model_id}: "
            "run this model, evaluate that run, and give its report"
        )
    return content


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}): give the metrics.json of a report") from error
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: give the metrics.json that bsbatch evaluate wrote") from error
    if not isinstance(content, dict) or content.get("version") != VERSION or not content.keys() >= _PARTS:
        raise UsageError(f"{file} is no metrics.json of version {VERSION}: evaluate again with this bsbatch")
    return content
