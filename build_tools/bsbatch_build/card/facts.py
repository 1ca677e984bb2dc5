"""Known facts about a model, by the names that the TOML files of this folder quote."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import bsbatch
from bsbatch.models.directory import Manifest, Model
from bsbatch_build.card.lineage import Training, lineage, summary
from bsbatch_build.card.metrics import Estimate, ReportedEvaluation, ReportedPoint, Subgroup
from bsbatch_build.card.words import with_interval, words

MODELS = "models.toml"
_PHANTOMS = re.compile(r"\bphantoms?\b", re.IGNORECASE)
_UNTRAINED = "not trained"
_LACKS = {
    "label_without_result": "labelled studies without an examination",
    "not_scored": "examinations that failed",
    "result_without_label": "examinations without a label",
    "outside_restriction": "examinations of other splits or centres",
}

_SOURCES = {"sample": ", that of the sample,", "--prevalence": ""}
"""Origin of the prevalence of PPV and NPV, in words."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Known facts, in words."""

    known: Mapping[str, str]
    is_of_phantoms: bool
    """True if the model was trained on phantoms."""
    trainings: tuple[Training, ...]
    """See `bsbatch_build.card.lineage.lineage`."""


def facts_of(model: Model, evaluation: ReportedEvaluation | None) -> Facts:
    """Collect the facts from the manifest, from an evaluation, and from the entry of this model in ``models.toml``.

    ``training_NAME`` for every entry NAME of ``manifest.training``, and the names below. An unknown fact has no name.
    The images were phantoms if the entry ``data``, or ``note`` without it, contains that word.
    """
    training = model.manifest.training
    trainings = lineage(training)
    known = {
        "bsbatch": bsbatch.__version__,
        "model_id": model.model_id,
        "threshold": f"{model.manifest.threshold:g}",
        "preprocessing_version": str(model.manifest.preprocessing_version),
        "tools": ", ".join(f"{name} {version}" for name, version in sorted(model.manifest.tools.items())),
        "calibration": _calibration(model.manifest.calibration),
        "distance": _distance(model.manifest),
        "weights_count": _count(training.get("weights_count")),
        "untrained": words(training.get("note")) if _UNTRAINED in str(training.get("note")) else "",
        **{f"training_{name}": words(value) for name, value in training.items()},
        **({"training_initialisation": summary(trainings)} if trainings else {}),
        **(_evaluation_facts(evaluation) if evaluation else {}),
        **read_models().get(model.model_id, {}),
    }
    images = words(training.get("data", training.get("note")))
    return Facts({name: text for name, text in known.items() if text}, bool(_PHANTOMS.search(images)), trainings)


def read_models() -> Mapping[str, Mapping[str, str]]:
    """Read the facts about single models: id of the model -> name of the fact -> text."""
    return tomllib.loads((resources.files("bsbatch_build.card") / MODELS).read_text(encoding="utf-8"))


def _evaluation_facts(evaluation: ReportedEvaluation) -> dict[str, str]:
    counts, unmatched = evaluation.counts, evaluation.unmatched
    settings, point = evaluation.settings, evaluation.operating_points["threshold"]
    is_unfinished = evaluation.run_status not in {"complete", None}
    return {
        **{name: str(counts[name]) for name in ("n", "positives", "negatives", "studies")},
        "unmatched": ", ".join(f"{unmatched[lack]} {text}" for lack, text in _LACKS.items()),
        "unscored": str(unmatched["not_scored"] or ""),
        "unfinished": str(evaluation.run_status) if is_unfinished else "",
        "interval": _interval(evaluation),
        "prevalence": f"{evaluation.prevalence:.1%}{_SOURCES[settings['prevalence_source']]}",
        "auc": with_interval(evaluation.metrics["auc"]),
        "auc_width": _width(evaluation.metrics["auc"]),
        **{name: with_interval(point.metrics[name]) for name in ("sensitivity", "specificity")},
        "operating_threshold": f"{point.threshold:g}",
        **{name: str(count) for name, count in point.confusion.items()},
        "operating_points": _points(evaluation.operating_points),
        **_subgroup_facts(evaluation.subgroups),
    }


def _size(groups: Mapping[str, Subgroup], name: str) -> int:
    return groups[name].n if name in groups else 0


def _width(metric: Estimate) -> str:
    return "" if metric.low is None or metric.high is None else f"{metric.high - metric.low:.3f}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _calibration(fitted: Mapping[str, Any]) -> str:
    if not fitted:
        return ""
    return (
        f"slope {fitted['slope']:.3f} and intercept {fitted['intercept']:.3f} of the logit, fitted to "
        f"{fitted['examinations']} examinations, {fitted['positives']} with metastasis"
    )


def _distance(manifest: Manifest) -> str:
    fitted = manifest.statistics
    if manifest.distance_limit is None or not fitted:
        return ""
    return (
        f"{manifest.distance_limit:.1f} (percentile {fitted['percentile']} of {fitted['validation']} examinations, "
        f"from the features of {fitted['examinations']} others)"
    )


def _interval(evaluation: ReportedEvaluation) -> str:
    settings = evaluation.settings
    return (
        f"{100 * evaluation.confidence:g} % intervals by {settings['interval']}: {settings['resamples']} resamples, "
        f"seed {settings['seed']}; {settings['resampling_note']}."
    )


def _points(points: Mapping[str, ReportedPoint]) -> str:
    texts = "; ".join(f"{point.threshold:g} ({point.rule})" for point in points.values())
    return f"{texts}. Those found on this sample are exploratory."


def _subgroup_facts(subgroups: Mapping[str, Mapping[str, Subgroup]]) -> dict[str, str]:
    people = [kind for kind in ("sex", "age") if subgroups.get(kind)]
    unlike = subgroups.get("unlike_training", {})
    total = sum(group.n for group in unlike.values())
    kinds = [kind for kind, groups in subgroups.items() if groups]
    loads = {name: group.positives for name, group in subgroups["lesions"].items()}
    return {
        "fairness": f"Metrics by {' and '.join(people)}, and their differences." if people else "",
        "unlike": f"{_size(unlike, 'yes')} of {total} examinations were unlike the training data." if unlike else "",
        "subgroups": f"Metrics by {', '.join(kinds)}" if kinds else "",
        "evaluation_centres": ", ".join(f"centre {name}" for name in subgroups["centre"]),
        "lesion_loads": ", ".join(f"{count} with {name}" for name, count in loads.items()),
    }
