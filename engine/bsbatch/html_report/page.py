"""One HTML file from contents: it loads nothing, and everything that comes from outside is escaped."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from vl_convert import javascript_bundle

from bsbatch.errors import UsageError
from bsbatch.evaluation.metrics_json import content_of
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.results import RunFile
from bsbatch.evaluation.vega_lite import Spec
from bsbatch.html_report import charts
from bsbatch.html_report.contents import Contents, gather
from bsbatch.html_report.examinations import ExaminationRow, count_names
from bsbatch.html_report.rendering import EXPORT, render_template, write_text
from bsbatch.html_report.settings import ReportConfig
from bsbatch.html_report.words import CLUSTER, ENDINGS, FLAGS, MAP_WARNINGS, POINTS
from bsbatch.notice import LOOKED
from bsbatch.reasons import EXPLANATIONS, Status
from bsbatch.store.tables import OK

Code = TypeVar("Code", bound=StrEnum)
Explanation = tuple[str, int, str]
"""A code, its number of occurrences, and its meaning in words."""
_SHEET = 24
"""Pictures that the gallery shows, and the page reads, at a time."""
_RATES = {name: name for name in ("sensitivity", "specificity", "accuracy")} | {"f1": "F1", "ppv": "PPV", "npv": "NPV"}
_MODEL_FACTS = (
    "name",
    "model_id",
    "threshold",
    "calibration",
    "distance_limit",
    "statistics",
    "labels",
    "preprocessing_version",
    "tools",
)
_SETTINGS = ("threshold", "backend", "precision", "preprocessing_version", "cam", "selection", "effort", "limit")


def write_page(config: ReportConfig, evaluation: Evaluation | None = None) -> Path:
    """Write the page of a run. The same run gives the same bytes.

    Parameters
    ----------
    config
        Configuration of the command.
    evaluation
        See `bsbatch.html_report.contents.gather`.

    Returns
    -------
    Path of the page.

    Raises
    ------
    UsageError
        There is no run to report on, or the file's folder does not exist.
    OutputError
        The page cannot be written.
    """
    contents = gather(config, evaluation)
    if not contents.page.parent.is_dir():
        raise UsageError(f"{contents.page.parent} is no folder: create it, or choose another --out")
    return write_text(contents.page, render(contents, javascript_bundle(EXPORT)))


def render(contents: Contents, script: str) -> str:
    """Render the page as text.

    Parameters
    ----------
    contents
        Contents of the page.
    script
        Vega-Embed and its dependencies, as one script.
    """
    return render_template("page.html", _template_variables(contents), script)


def _template_variables(contents: Contents) -> dict[str, object]:
    run, flow, evaluation = contents.run, contents.flow, contents.evaluation
    return {
        "run": run,
        "ending": ENDINGS.get(run.get("status")),
        "config": {name: run["config"][name] for name in _SETTINGS if name in run.get("config", {})},
        "model": _model(run),
        "card": contents.card,
        "flow": flow,
        "reasons_of": _reasons(contents),
        "threshold": contents.threshold,
        "score_name": contents.score_name,
        "flags": _explain(count_names(item.flags for item in contents.examinations), FLAGS),
        "map_warnings": _explain(count_names(item.map_warnings for item in contents.examinations), MAP_WARNINGS),
        "evaluation": None if evaluation is None else content_of(evaluation),
        "rates": _RATES,
        "point_names": POINTS,
        "charts": _charts(contents),
        "cluster": {words: run["cluster"][name] for name, words in CLUSTER.items() if name in run.get("cluster", {})},
        "warned": sum(bool(item.flags or item.map_warnings) for item in contents.examinations),
        "identified": _is_identified(contents),
        "data": _data(contents),
        **_gallery(contents),
    }


def _gallery(contents: Contents) -> dict[str, object]:
    pictures = contents.pictures
    return {
        "pictures": len(pictures),
        "has_lesions": any(picture.lesions for picture in pictures),
        "looked": LOOKED,
        "sheets": [pictures[first : first + _SHEET] for first in range(0, len(pictures), _SHEET)],
        "overlays": len(contents.links),
    }


def _model(run: RunFile) -> dict[str, object]:
    """Select the facts about the model, without the history of its training."""
    model = run.get("model") or {}
    facts = {name: model[name] for name in _MODEL_FACTS if name in model}
    note = (model.get("training") or {}).get("note")
    return facts | ({"note": note} if note else {})


def _reasons(contents: Contents) -> dict[str, list[Explanation]]:
    """List the reasons of each branch of the flow, the most frequent first."""
    flow = contents.flow
    counts: dict[str, list[tuple[str, int]]] = {str(status): [] for status in (Status.SKIPPED, Status.FAILED)}
    for (status, reason), count in flow.object_reasons.items():
        counts[status].append((reason, count))
    counts["examinations"] = list(flow.examination_reasons.items())
    return {
        name: _explain(sorted(items, key=lambda item: (-item[1], item[0])), EXPLANATIONS)
        for name, items in counts.items()
    }


def _explain(items: Iterable[tuple[str, int]], words: Mapping[Code, str]) -> list[Explanation]:
    meanings = {str(code): text for code, text in words.items()}
    return [(str(name), count, meanings.get(str(name), "")) for name, count in items]


def _charts(contents: Contents) -> dict[str, Spec]:
    specs: dict[str, Spec] = {}
    if contents.flow.examinations[OK]:
        specs["scores"] = charts.score_chart(contents.examinations, contents.labels, contents.threshold)
    if contents.run.get("stages"):
        specs["stages"] = charts.stage_chart(contents.run["stages"])
    if contents.evaluation is not None:
        specs["roc"] = charts.roc_chart(contents.evaluation)
        specs["calibration"] = charts.calibration_chart(contents.evaluation)
        specs["precision_recall"] = charts.precision_chart(contents.evaluation)
        specs["decision_curve"] = charts.decision_chart(contents.evaluation)
        groups = charts.group_chart(contents.evaluation)
        specs |= {} if groups is None else {"groups": groups}
    return specs


def _data(contents: Contents) -> dict[str, object]:
    """Collect the data of the page's script; rows are lists, because names in each of 10,000 rows take space."""
    pictures = {picture.exam_id: index for index, picture in enumerate(contents.pictures)}
    labels = contents.labels
    return {
        "examinations": [
            [
                *_row(item, labels.get(item.exam_id)),
                contents.links.get(item.exam_id),
                pictures.get(item.exam_id),
                item.accession,
                item.date,
            ]
            for item in contents.examinations
        ],
        "sheet": _SHEET,
        "labelled": bool(labels),
        "identified": _is_identified(contents),
        "score": contents.score_name,
        "words": {str(name): text for name, text in (EXPLANATIONS | FLAGS | MAP_WARNINGS).items()},
    }


def _is_identified(contents: Contents) -> bool:
    return any(item.accession or item.date for item in contents.examinations)


def _row(item: ExaminationRow, label: bool | None) -> list[object]:
    return [
        item.exam_id,
        None if item.score is None else round(item.score, 4),
        int(item.is_positive),
        None if label is None else int(label),
        item.reason,
        item.camera,
        item.evidence,
        list(item.flags),
        list(item.map_warnings),
        *item.kilocounts,
    ]
