"""Contents as one HTML file: nothing is loaded from anywhere, and everything that came from outside is escaped."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import bsbatch
from bsbatch.errors import OutputError, UsageError
from bsbatch.host.files import replace_text
from bsbatch.html_report import charts
from bsbatch.html_report.contents import Contents, gather
from bsbatch.html_report.examinations import Shown, counted
from bsbatch.html_report.settings import ReportConfig
from bsbatch.html_report.words import ENDINGS, FLAGS, MAP_WARNINGS, POINTS
from bsbatch.reasons import EXPLANATIONS, Status
from bsbatch.registry import REPORT
from bsbatch.store.tables import OK

_TEMPLATES = Path(__file__).parent / "templates"
_DRAWING = "globalThis.bsbatchEmbed = vegaEmbed;"
"""What the bundled script hands to the page's own."""
_ON_A_SHEET = 24
"""Pictures that the gallery shows at once, and that the page reads at once."""
_RATES = {name: name for name in ("sensitivity", "specificity", "accuracy")} | {"f1": "F1", "ppv": "PPV", "npv": "NPV"}
_SETTINGS = ("threshold", "backend", "precision", "preprocessing_version", "cam", "selection", "effort", "limit")


def write_page(config: ReportConfig, evaluation: Any = None) -> Path:
    """Write the page; the same run gives the same bytes.

    Parameters
    ----------
    config
        What the command was told.
    evaluation
        See `bsbatch.html_report.contents.gather`.

    Returns
    -------
    Where the page is.

    Raises
    ------
    UsageError
        There is nothing to report on, or the file's folder is not there.
    OutputError
        The page cannot be written.
    """
    draw = REPORT["figures"].load()
    contents = gather(config, evaluation)
    if not contents.page.parent.is_dir():
        raise UsageError(f"{contents.page.parent} is no folder: make it, or choose another --out")
    text = render(contents, draw(_DRAWING))
    try:
        replace_text(contents.page, text)
    except OSError as error:
        raise OutputError.of(contents.page, error) from error
    return contents.page


def render(contents: Contents, script: str) -> str:
    """The page as text.

    Parameters
    ----------
    contents
        What it shows.
    script
        Vega-Embed and what it needs, as one script.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "dict": asdict,
        "count": "{:,}".format,
        "figure": _figure,
        "interval": _interval,
        "plain": _plain,
    }
    return environment.get_template("page.html").render(
        _facts(contents),
        bundle=Markup(script.replace("</script", r"<\/script")),
    )


def _facts(contents: Contents) -> dict[str, Any]:
    run, flow, evaluation = contents.run, contents.flow, contents.evaluation
    return {
        "version": bsbatch.__version__,
        "run": run,
        "ending": ENDINGS.get(run.get("status")),
        "config": {name: run["config"][name] for name in _SETTINGS if name in run.get("config", {})},
        "model": _model(run),
        "card": contents.card,
        "flow": flow,
        "fates": _fates(contents),
        "threshold": contents.threshold,
        "flags": _explained(counted(item.flags for item in contents.examinations), FLAGS),
        "map_warnings": _explained(counted(item.map_warnings for item in contents.examinations), MAP_WARNINGS),
        "evaluation": evaluation,
        "rates": _RATES,
        "point_names": POINTS,
        "charts": _charts(contents),
        "pictures": len(contents.pictures),
        "sheets": [
            contents.pictures[first : first + _ON_A_SHEET] for first in range(0, len(contents.pictures), _ON_A_SHEET)
        ],
        "overlays": len(contents.links),
        "data": _data(contents),
    }


def _model(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the run says of its model, without the history of its training."""
    model = run.get("model") or {}
    names = ("name", "model_id", "threshold", "labels", "preprocessing_version", "tools")
    facts = {name: model[name] for name in names if name in model}
    note = (model.get("training") or {}).get("note")
    return facts | ({"note": note} if note else {})


def _fates(contents: Contents) -> dict[str, list[tuple[str, int, str]]]:
    """For each turn of the flow the reasons that led there: code, how often, in words; the most frequent first."""
    flow = contents.flow
    found: dict[str, list[tuple[str, int]]] = {str(status): [] for status in (Status.SKIPPED, Status.FAILED)}
    for (status, reason), count in flow.object_reasons.items():
        found[status].append((reason, count))
    found["examinations"] = list(flow.examination_reasons.items())
    return {
        name: _explained(sorted(items, key=lambda item: (-item[1], item[0])), EXPLANATIONS)
        for name, items in found.items()
    }


def _explained(items: Any, words: Mapping[Any, str]) -> list[tuple[str, int, str]]:
    return [(str(name), count, words.get(name, "")) for name, count in items]


def _charts(contents: Contents) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if contents.flow.examinations[OK]:
        figures["scores"] = charts.score_chart(contents.examinations, contents.truth, contents.threshold)
    if contents.run.get("stages"):
        figures["stages"] = charts.stage_chart(contents.run["stages"])
    if contents.evaluation is not None:
        figures["roc"] = charts.roc_chart(contents.evaluation)
        figures["calibration"] = charts.calibration_chart(contents.evaluation)
        groups = charts.group_chart(contents.evaluation)
        figures |= {} if groups is None else {"groups": groups}
    return figures


def _data(contents: Contents) -> dict[str, Any]:
    """What the page's script works on; rows are lists, because names in each of 10,000 rows take room."""
    places = {picture.exam_id: place for place, picture in enumerate(contents.pictures)}
    return {
        "examinations": [[*_row(item, contents), places.get(item.exam_id)] for item in contents.examinations],
        "sheet": _ON_A_SHEET,
        "labelled": bool(contents.truth),
        "words": {str(name): text for name, text in (EXPLANATIONS | FLAGS | MAP_WARNINGS).items()},
    }


def _row(item: Shown, contents: Contents) -> list[Any]:
    known = contents.truth.get(item.exam_id)
    return [
        item.exam_id,
        None if item.score is None else round(item.score, 4),
        int(item.is_positive),
        None if known is None else int(known),
        item.reason,
        item.camera,
        item.evidence,
        list(item.flags),
        list(item.map_warnings),
        *item.kilocounts,
        contents.links.get(item.exam_id),
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(item: Mapping[str, float | None]) -> str:
    if item["value"] is None or item["low"] is None:
        return ""
    return f"{item['low']:.3f} to {item['high']:.3f}"


def _plain(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "not set" if value is None else str(value)
