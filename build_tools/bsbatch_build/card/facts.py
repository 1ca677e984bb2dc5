"""What is known of a model, by the names that the TOML files of this folder use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bsbatch
from bsbatch.models.directory import Model
from bsbatch_build.card.lineage import Training, lineage, summary
from bsbatch_build.card.metrics import Evaluation
from bsbatch_build.card.words import with_interval, words

_PHANTOMS = re.compile(r"\bphantoms?\b", re.IGNORECASE)
_UNTRAINED = "not trained"
_LACKS = {
    "label_without_result": "labelled studies without an examination",
    "not_scored": "examinations that failed",
    "result_without_label": "examinations without a label",
    "outside_restriction": "examinations of other splits or centres",
}

_SOURCES = {"sample": ", that of the sample,", "--prevalence": ""}
"""Where the prevalence comes from that PPV and NPV are stated at."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known, in words."""

    known: Mapping[str, str]
    is_of_phantoms: bool
    """Whether the model was trained on phantoms."""
    trainings: tuple[Training, ...]
    """See `bsbatch_build.card.lineage.lineage`."""


def facts_of(model: Model, evaluation: Evaluation | None) -> Facts:
    """Collect what manifest and evaluation say.

    ``training_NAME`` for every entry NAME of ``manifest.training``, and the names below. What is not known has no name.
    The images were phantoms where the entry ``data``, or ``note`` for want of it, has that word.
    """
    training = model.manifest.training
    trainings = lineage(training)
    known = {
        "bsbatch": bsbatch.__version__,
        "model_id": model.model_id,
        "threshold": f"{model.manifest.threshold:g}",
        "preprocessing_version": str(model.manifest.preprocessing_version),
        "tools": ", ".join(f"{name} {version}" for name, version in sorted(model.manifest.tools.items())),
        "weights_count": _count(training.get("weights_count")),
        "untrained": words(training.get("note")) if _UNTRAINED in str(training.get("note")) else "",
        **{f"training_{name}": words(value) for name, value in training.items()},
        **({"training_initialisation": summary(trainings)} if trainings else {}),
        **(_evaluated(evaluation) if evaluation else {}),
    }
    images = words(training.get("data", training.get("note")))
    return Facts({name: text for name, text in known.items() if text}, bool(_PHANTOMS.search(images)), trainings)


def _evaluated(evaluation: Evaluation) -> dict[str, str]:
    counts, settings, point = evaluation["counts"], evaluation["settings"], evaluation["operating_points"]["threshold"]
    unfinished = evaluation["run_status"] not in {"complete", None}
    return {
        **{name: str(counts[name]) for name in ("n", "positives", "negatives", "studies")},
        "unmatched": ", ".join(f"{counts['unmatched'][lack]} {text}" for lack, text in _LACKS.items()),
        "unscored": str(counts["unmatched"]["not_scored"] or ""),
        "unfinished": str(evaluation["run_status"]) if unfinished else "",
        "interval": _interval(settings),
        "prevalence": f"{settings['prevalence']:.1%}{_SOURCES[settings['prevalence_source']]}",
        "auc": with_interval(evaluation["metrics"]["auc"]),
        **{name: with_interval(point["metrics"][name]) for name in ("sensitivity", "specificity")},
        "operating_threshold": f"{point['threshold']:g}",
        **{name: str(count) for name, count in point["confusion"].items() if isinstance(count, int)},
        "operating_points": _points(evaluation["operating_points"]),
        **_grouped(evaluation["subgroups"]),
    }


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _interval(settings: Mapping[str, Any]) -> str:
    return (
        f"{100 * settings['confidence']:g} % intervals by {settings['interval']}: {settings['resamples']} resamples, "
        f"seed {settings['seed']}; {settings['resampling_note']}."
    )


def _points(points: Mapping[str, Any]) -> str:
    listed = "; ".join(f"{point['threshold']:g} ({point['rule']})" for point in points.values())
    return f"{listed}. Those found on this sample are exploratory."


def _grouped(subgroups: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    kinds = [kind for kind, groups in subgroups.items() if groups]
    loads = {name: group["positives"] for name, group in subgroups["lesions"].items()}
    return {
        "subgroups": f"Figures by {', '.join(kinds)}" if kinds else "",
        "evaluation_centres": ", ".join(f"centre {name}" for name in subgroups["centre"]),
        "lesion_loads": ", ".join(f"{count} with {name}" for name, count in loads.items()),
    }
