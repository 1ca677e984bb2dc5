"""Reads the ``metrics.json`` of ``bsbatch evaluate``, of the model that the card is for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bsbatch.errors import UsageError

FILE = "metrics.json"
VERSION = 1
"""`bsbatch.evaluation.metrics_json.VERSION`, which cannot be imported without scikit-learn."""
_PARTS = frozenset({"settings", "counts", "metrics", "operating_points", "subgroups", "run_status"})

Evaluation = Mapping[str, Any]
"""As in the file."""


def read_evaluation(path: Path, model_id: str) -> Evaluation:
    """Read an evaluation.

    Parameters
    ----------
    path
        ``metrics.json``, or the folder of the report.
    model_id
        The model that must have given the scores.

    Raises
    ------
    UsageError
        The file cannot be read, is of another version, or belongs to another model.
    """
    file = path / FILE if path.is_dir() else path
    evaluation = _read(file)
    if evaluation.get("model_id") != model_id:
        raise UsageError(
            f"{file} is of model {evaluation.get('model_id')}, and this is {model_id}: "
            "run this model, evaluate that run, and give its report"
        )
    return evaluation


def _read(file: Path) -> Evaluation:
    try:
        evaluation = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}): give the metrics.json of a report") from error
    except ValueError as error:
        raise UsageError(f"{file} is no JSON: give the metrics.json that bsbatch evaluate wrote") from error
    if not isinstance(evaluation, dict) or evaluation.get("version") != VERSION or not evaluation.keys() >= _PARTS:
        raise UsageError(f"{file} is no metrics.json of version {VERSION}: evaluate again with this bsbatch")
    return evaluation
