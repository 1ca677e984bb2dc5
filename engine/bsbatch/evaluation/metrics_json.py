"""Content of ``metrics.json``: plain values, numbers rounded to six digits, null if undefined."""

from collections.abc import Mapping
from dataclasses import asdict
from math import isnan
from typing import Any

import bsbatch
from bsbatch.evaluation.bootstrap import CONFIDENCE, Interval
from bsbatch.evaluation.cohort import Exclusion
from bsbatch.evaluation.localisation import TOLERANCE, Localisation
from bsbatch.evaluation.performance import (
    BINS,
    GRID,
    PREVALENCE_FREE,
    Curves,
    Difference,
    Evaluation,
    GroupPerformance,
    Performance,
    PointPerformance,
    Rivalry,
    Transfer,
)
from bsbatch.evaluation.sizes import plan
from bsbatch.evaluation.statistics.utility import THRESHOLDS, treat_all
from bsbatch.notice import NOTICE

VERSION = 1
_DIGITS = 6
_PART = "brier_"
"""Prefix of the parts of the Brier score among the statistics of probabilities."""
_MATRIX_RATES = {"tpr": "sensitivity", "tnr": "specificity", "fpr": "fpr", "fnr": "fnr"}
_SUMMARY = ("sensitivity", "specificity", "accuracy", "f1", "ppv", "npv")

Content = dict[str, Any]


def content_of(evaluation: Evaluation) -> Content:
    """Collect everything but the scores. Equal evaluations give equal content, wherever their files are."""
    return {
        "version": VERSION,
        "notice": NOTICE,
        "bsbatch": bsbatch.__version__,
        "model_id": evaluation.run.model_id,
        "config_hash": evaluation.run.config_hash,
        "run_status": evaluation.run.status,
        "settings": _settings(evaluation),
        "counts": _counts(evaluation),
        **_performance(evaluation.whole, evaluation.probabilities),
        "roc": _roc(evaluation.curves),
        "calibration": _calibration(evaluation.curves),
        "brier_parts": _parts(evaluation),
        "precision_recall": _precision(evaluation.curves),
        "decision_curve": _decisions(evaluation.curves),
        "planning": plan(evaluation),
        "subgroups": _subgroups(evaluation.groups),
        "fairness": [_difference(item) for item in evaluation.fairness],
        "transferred_thresholds": [_transfer(item) for item in evaluation.transfers],
        **({} if evaluation.rivalry is None else {"comparison": _rivalry(evaluation.rivalry)}),
        **({} if evaluation.localisation is None else {"localisation": _localisation(evaluation.localisation)}),
    }


_UNITS = {
    "patient_id": "patients are drawn whole",
    "patient_key": "patients are drawn whole; the label file has no patient_id, so they are those of the archive",
    "study_uid": "neither labels nor archive name patients: each study is taken for a patient of its own",
}


def _settings(evaluation: Evaluation) -> Content:
    config, cohort = evaluation.config, evaluation.cohort
    prevalence = config.decisions.prevalence
    share = cohort.sample.positives / cohort.sample.size
    return {
        "interval": "percentile bootstrap",
        "confidence": CONFIDENCE,
        **asdict(config.resampling),
        "resampling_unit": cohort.resampling_unit,
        "resampling_note": _UNITS[cohort.resampling_unit],
        "one_class_resamples": "drawn again and counted as redrawn_resamples",
        "thresholds_in_resamples": "held fixed",
        "prevalence": _number(share if prevalence is None else prevalence),
        "prevalence_source": "sample" if prevalence is None else "--prevalence",
        "sensitivity": config.decisions.sensitivity,
        "calibration_bins": BINS,
        **asdict(config.restriction),
    }


def _counts(evaluation: Evaluation) -> Content:
    cohort = evaluation.cohort
    return {
        **_sizes(evaluation.whole),
        "studies": cohort.studies,
        "repeated_label_rows": evaluation.repeated_labels,
        "unmatched": {str(exclusion): cohort.exclusions[exclusion] for exclusion in Exclusion},
    }


def _sizes(performance: Performance) -> Content:
    sample = performance.sample
    return {
        "n": sample.size,
        "positives": sample.positives,
        "negatives": sample.negatives,
        "patients": sample.patient_count,
    }


def _performance(performance: Performance, probabilities: Mapping[str, Interval]) -> Content:
    fits = {name: item for name, item in probabilities.items() if not name.startswith(_PART)}
    return {
        "redrawn_resamples": performance.redrawn,
        **_intervals(_prevalent(performance) | fits),
        "operating_points": {item.point.name: _point(item) for item in performance.points},
    }


def _point(item: PointPerformance) -> Content:
    rates = _intervals({name: item.rates[name] for name in _SUMMARY})
    return {
        "threshold": item.point.threshold,
        "rule": item.point.rule,
        **rates,
        "confusion": asdict(item.confusion)
        | {name: _interval(item.rates[rate]) for name, rate in _MATRIX_RATES.items()},
    }


def _intervals(intervals: Mapping[str, Interval]) -> Content:
    """Collect the metrics and, for those undefined in some resamples, the number of these."""
    undefined = {name: item.undefined for name, item in intervals.items() if item.undefined}
    return {
        "metrics": {name: _interval(item) for name, item in intervals.items()},
        "undefined_resamples": undefined,
    }


def _interval(item: Interval) -> Content:
    return {"value": _number(item.value), "low": _number(item.low), "high": _number(item.high)}


def _roc(curves: Curves) -> Content:
    """Sample the curve on the grid of its interval; the full curve follows from ``scores.parquet``."""
    return {
        "fpr": [_number(value) for value in GRID],
        "tpr": [_number(item.value) for item in curves.roc_grid],
        "low": [_number(item.low) for item in curves.roc_grid],
        "high": [_number(item.high) for item in curves.roc_grid],
    }


def _calibration(curves: Curves) -> list[Content]:
    calibration = curves.calibration
    return [
        {
            "from": _number(index / BINS),
            "to": _number((index + 1) / BINS),
            "n": size,
            "mean_score": _number(calibration.mean_scores[index]),
            "positive_share": _interval(curves.fractions[index]),
        }
        for index, size in enumerate(calibration.sizes)
    ]


def _subgroups(groups: tuple[GroupPerformance, ...]) -> Content:
    content: Content = {"centre": {}, "manufacturer": {}, "lesions": {}}
    for group in groups:
        content.setdefault(group.kind, {})[group.name] = _sizes(group.performance) | _group_metrics(group)
    return content


def _group_metrics(group: GroupPerformance) -> Content:
    performance, point = group.performance, group.performance.points[0]
    metrics = {"auc": performance.auc}
    if group.kind == "lesions":
        metrics |= {name: point.rates[name] for name in PREVALENCE_FREE}
    else:
        metrics = _prevalent(performance) | point.rates
    return {
        "threshold": point.point.threshold,
        "redrawn_resamples": performance.redrawn,
        **_intervals(metrics),
        "confusion": asdict(point.confusion),
    }


def _prevalent(performance: Performance) -> dict[str, Interval]:
    return {
        "auc": performance.auc,
        "brier": performance.brier,
        "average_precision": performance.average_precision,
        "calibration_error": performance.calibration_error,
    }


def _parts(evaluation: Evaluation) -> Content:
    parts = evaluation.probabilities.items()
    return {name.removeprefix(_PART): _interval(item) for name, item in parts if name.startswith(_PART)}


def _precision(curves: Curves) -> Content:
    return {
        "recall": [_number(value) for value in GRID],
        "precision": [_number(item.value) for item in curves.precision],
        "low": [_number(item.low) for item in curves.precision],
        "high": [_number(item.high) for item in curves.precision],
    }


def _decisions(curves: Curves) -> Content:
    return {
        "threshold": [_number(value) for value in THRESHOLDS],
        "net_benefit": [_number(item.value) for item in curves.net_benefit],
        "low": [_number(item.low) for item in curves.net_benefit],
        "high": [_number(item.high) for item in curves.net_benefit],
        "treat_all": [_number(value) for value in treat_all(curves.prevalence)],
    }


def _difference(item: Difference) -> Content:
    values = {name: _interval(value) for name, value in item.differences.items()}
    return {"kind": item.kind, "group": item.name, "reference": item.reference, "differences": values}


def _transfer(item: Transfer) -> Content:
    rates = {name: _interval(value) for name, value in item.rates.items()}
    return {"from": item.origin, "to": item.target, "rule": item.rule, "threshold": item.threshold, "metrics": rates}


def _rivalry(rivalry: Rivalry) -> Content:
    auc, first, second = rivalry.auc, *rivalry.thresholds
    return {
        "model_id": rivalry.rival.model_id,
        "config_hash": rivalry.rival.config_hash,
        "n": rivalry.n,
        "positives": rivalry.positives,
        "auc": {
            "first": _number(auc.first),
            "second": _number(auc.second),
            "difference": _interval(auc.difference),
            "p_value": _number(auc.p_value),
        },
        "thresholds": {"first": first, "second": second},
        "right_by_one_alone": {name: asdict(item) for name, item in rivalry.decisions.items()},
    }


def _localisation(localisation: Localisation) -> Content:
    groups: dict[str, Content] = {}
    for group in localisation.groups:
        metrics = {name: _interval(item) for name, item in group.metrics.items()}
        groups.setdefault(group.kind, {})[group.name] = {"n": group.n, "metrics": metrics}
    return {
        "of": "true positives at the run's own threshold",
        "tolerance": TOLERANCE,
        "not_compared": {
            "missed": localisation.missed,
            "without_map": localisation.without_map,
            "without_mask": localisation.without_mask,
            "without_lesion": localisation.without_lesion,
        },
        "groups": groups,
    }


def _number(value: float) -> float | None:
    return None if isnan(value) else round(float(value), _DIGITS)
