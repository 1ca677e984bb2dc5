"""Content of a model card as plain values: ``card.json`` holds it, ``card.md`` is rendered from it."""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

from bsbatch.models.directory import GRAPH, Model
from bsbatch_build.card.answers import Checklist, Item, ItemStatus, checklists, statements
from bsbatch_build.card.facts import Facts, facts_of
from bsbatch_build.card.lineage import NESTED
from bsbatch_build.card.metrics import ReportedEvaluation

VERSION = 3
NOTICE = "Research use only. Not a medical device, not for clinical use."
OF_PHANTOMS = (
    "Trained on synthetic phantoms, not for clinical use: no patient's image was used, and its scores say nothing "
    "about patients."
)
ASSUMED = "Answered for phantoms in training and in evaluation: if patients were evaluated, answer anew."
_CURVES = frozenset({"roc", "calibration", "precision_recall"})
"""Too long for a card, and drawn in the report."""
_DECISIONS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Thresholds of the decision curve that a card shows."""

Content = dict[str, Any]
"""A JSON object."""


def content_of(model: Model, metrics: Content | None) -> Content:
    """Assemble a card; the same model and metrics give the same card.

    Parameters
    ----------
    model
        Model of the card.
    metrics
        See `bsbatch_build.card.metrics.read_metrics`; None for a model that is not evaluated.
    """
    facts, training = facts_of(model, ReportedEvaluation.parse(metrics) if metrics else None), model.manifest.training
    in_trainings = NESTED if facts.trainings else frozenset()
    return {
        "version": VERSION,
        "notices": _notices(model, facts),
        "bsbatch": facts.known["bsbatch"],
        "model": _model(model),
        "intended_use": statements("intended_use", facts),
        "out_of_scope": statements("out_of_scope", facts),
        "training": _finite({name: value for name, value in training.items() if name not in in_trainings}),
        "trainings": _finite([asdict(training) for training in facts.trainings]),
        "evaluation": metrics and _evaluation(metrics),
        "limits": statements("limits", facts),
        "assumptions": [ASSUMED] if facts.is_of_phantoms else [],
        "checklists": [_checklist(checklist) for checklist in checklists(facts)],
    }


def _evaluation(metrics: Content) -> Content:
    """Leave out the curves, but for a few points of the decision curve."""
    parts = {name: part for name, part in metrics.items() if name not in _CURVES}
    if "decision_curve" in metrics:
        curve = metrics["decision_curve"]
        chosen = [index for index, threshold in enumerate(curve["threshold"]) if threshold in _DECISIONS]
        parts["decision_curve"] = {name: [column[index] for index in chosen] for name, column in curve.items()}
    return parts


def _notices(model: Model, facts: Facts) -> list[str]:
    note, patients = model.manifest.training.get("note"), facts.known.get("own_patients")
    if facts.is_of_phantoms:
        return [NOTICE, OF_PHANTOMS, *([patients] if patients else [])]
    return [NOTICE, f"Weights: {note}."] if note else [NOTICE]


def _model(model: Model) -> Content:
    manifest = model.manifest
    return {
        "name": manifest.name,
        "id": model.model_id,
        "sha256": manifest.files[GRAPH],
        "architecture": "VGG16 convolutions, global average pooling, dense ReLU, softmax over two classes",
        "source": "Ibrahim et al., Cancer Imaging 2023;23:12",
        "input": f"{manifest.input_name} (N, 1, 512, 512) float32 in [0, 1]: anterior left, posterior right",
        "output": f"{manifest.output_name} (N, 2) float32: {', '.join(manifest.labels)}",
        "threshold": manifest.threshold,
        "preprocessing_version": manifest.preprocessing_version,
        "tools": dict(sorted(manifest.tools.items())),
    }


def _finite(value: object) -> object:
    """Copy a value for JSON; NaN and infinity, as of a diverged loss, become None."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _checklist(checklist: Checklist) -> Content:
    return {
        "title": checklist.title,
        "source": checklist.source,
        "counts": {str(status): checklist.count(status) for status in ItemStatus},
        "items": [_item(item) for item in checklist.items],
    }


def _item(item: Item) -> Content:
    fields = {"number": item.number, "section": item.section, "item": item.item, "status": str(item.status)}
    return fields | {"text": item.text or None, "open": item.remainder or None}
