"""Everything that a page shows, gathered from the output folder of a run, its model's card and an evaluation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bsbatch.errors import ModelError, OutputError, UsageError
from bsbatch.evaluation.results import out_of
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.html_report.examinations import Shown, read_examinations
from bsbatch.html_report.gallery import Picture, links_of, pictures_of
from bsbatch.html_report.settings import FILE, ReportConfig
from bsbatch.models.directory import DEMO, GRAPH, read_manifest, resolve_folder
from bsbatch.registry import EVALUATION, load
from bsbatch.store.flow import Flow
from bsbatch.store.folder import read_run_file
from bsbatch.store.parts import parts_in
from bsbatch.store.reconcile import add_up
from bsbatch.store.tables import OBJECTS, RESULTS

_CARD = "card.json"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a page is made of."""

    page: Path
    """The file to write."""
    run: Mapping[str, Any]
    """``run.json``; empty where there is none."""
    flow: Flow
    examinations: tuple[Shown, ...]
    pictures: tuple[Picture, ...]
    links: Mapping[str, str]
    """For each examination with an overlay its address, relative to the page."""
    evaluation: Mapping[str, Any] | None
    """As in ``metrics.json``; None without labels."""
    truth: Mapping[str, bool]
    """Whether an examination is known to be positive; empty without labels."""
    card: Mapping[str, Any] | None
    """The model's ``card.json``; None where it is not here."""

    @property
    def threshold(self) -> float | None:
        """Positive from this probability on; None where nobody knows."""
        told = self.run.get("config", {}).get("threshold")
        return told if told is not None else next((item.threshold for item in self.examinations), None)


def gather(config: ReportConfig, evaluation: Any = None) -> Contents:
    """Read what a page shows.

    Parameters
    ----------
    config
        What the command was told.
    evaluation
        A `bsbatch.evaluation.evaluate.Evaluation` of these results, where it was computed already; None computes it
        when there are labels.

    Raises
    ------
    UsageError
        There is no run, or labels or model do not belong to it.
    """
    out = out_of(config.results)
    run = read_run_file(out)
    if not run and not any(parts_in(out / table) for table in (RESULTS, OBJECTS)):
        raise UsageError(f"{config.results} holds no run: give the --out folder of bsbatch run")
    page = config.out or out / FILE
    if evaluation is None and config.labels is not None:
        evaluation = EVALUATION["metrics"].load()(EvaluationConfig(out, config.labels, page.parent, masks=config.masks))
    card = _card(config.model, run)
    try:
        examinations = read_examinations(out)
        pictures = pictures_of(out, [item.exam_id for item in examinations], config.gallery)
        flow = _flow(out, run)
    except OutputError as error:
        raise UsageError(str(error)) from error
    figures, truth = _evaluated(evaluation)
    return Contents(page, run, flow, examinations, pictures, links_of(out, page), figures, truth, card)


def _flow(out: Path, run: Mapping[str, Any]) -> Flow:
    """As the tables say now; what they cannot know, the run told at its end."""
    flow, told = add_up(out), run.get("counts", {})
    flow.pending, flow.gone = told.get("pending", 0), told.get("gone", 0)
    flow.seen = max(told.get("seen", 0), flow.seen - flow.gone)
    return flow


def _evaluated(evaluation: Any) -> tuple[Mapping[str, Any] | None, dict[str, bool]]:
    if evaluation is None:
        return None, {}
    truth = {case.examination.exam_id: bool(case.label.is_positive) for case in evaluation.cohort.cases}
    return load("bsbatch.evaluation.metrics_json:content_of")(evaluation), truth


def _card(folder: Path | None, run: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The card of the run's own model, never of another one."""
    model_id = (run.get("model") or {}).get("model_id")
    place = resolve_folder(folder if folder is not None else Path(DEMO))
    if folder is None and (model_id is None or not place.is_dir()):
        return None
    found = read_manifest(place).files[GRAPH][:16]
    if found != model_id:
        if folder is None:
            return None
        raise ModelError(
            f"--model {folder} is {found}, and the run was made with {model_id or 'no model'}: name that one"
        )
    return _read_card(place / _CARD, is_asked_for=folder is not None)


def _read_card(path: Path, *, is_asked_for: bool) -> Mapping[str, Any] | None:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if is_asked_for:
            raise ModelError(f"{path.parent} has no card yet: bsbatch-build card {path.parent}") from None
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: make it again with bsbatch-build card {path.parent}") from error
    return card if isinstance(card, dict) else None
