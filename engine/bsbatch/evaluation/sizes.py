"""Width of the intervals of an evaluation, and the number of examinations for a wanted width."""

from math import ceil, isnan
from typing import Any

from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.statistics.planning import auc_size, proportion_size

_DIGITS = 6


def plan(evaluation: Evaluation) -> dict[str, Any]:
    """Plan an evaluation of such a model: plain values for ``metrics.json``.

    ``needed`` is the number of examinations, of which the prevalence says how many are of the class that a rate is
    about; None if the metric is undefined.
    """
    width, prevalence = evaluation.config.decisions.width, evaluation.curves.prevalence
    rates, auc = evaluation.whole.points[0].rates, evaluation.whole.auc
    sides = {"sensitivity": prevalence, "specificity": 1 - prevalence}
    return {
        "wanted_width": width,
        "prevalence": round(prevalence, _DIGITS),
        "auc": _entry(auc, auc_size(auc.value, prevalence, width)),
        **{name: _entry(rates[name], _among(rates[name].value, width, share)) for name, share in sides.items()},
    }


def _among(value: float, width: float, share: float) -> int | None:
    size = proportion_size(value, width)
    return None if size is None else ceil(size / share - 1e-9)


def _entry(interval: Interval, needed: int | None) -> dict[str, Any]:
    width = interval.high - interval.low
    return {"width": None if isnan(width) else round(width, _DIGITS), "needed": needed}
