"""Contents of a page, read from the output folder of a run, its model's card and an evaluation."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError, OutputError, UsageError
from bsbatch.evaluation.masks import read_lesions
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.results import RunFile, out_of, read_views
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.host.files import read_plain
from bsbatch.html_report.examinations import ExaminationRow, read_examinations
from bsbatch.html_report.gallery import FindLesions, Picture, links_of, pictures_of
from bsbatch.html_report.settings import ReportConfig
from bsbatch.models.directory import DEMO, GRAPH, read_manifest, resolve_folder
from bsbatch.requirements import require
from bsbatch.store.flow import Flow
from bsbatch.store.folder import PAGE, read_run_file
from bsbatch.store.parts import parts_in
from bsbatch.store.reconcile import add_up
from bsbatch.store.tables import OBJECTS, RESULTS

_CARD = "card.json"
_LARGEST_CARD = 1 << 24

Card = Mapping[str, object]
"""Content of a model's ``card.json``."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Contents of a page."""

    page: Path
    """File to write."""
    run: RunFile
    """Content of ``run.json``; empty without that file."""
    flow: Flow
    examinations: tuple[ExaminationRow, ...]
    pictures: tuple[Picture, ...]
    links: Mapping[str, str]
    """Address of the overlay of each examination that has one, relative to the page."""
    evaluation: Evaluation | None
    """None without labels."""
    card: Card | None
    """Card of the run's model; None if it is not available."""

    @property
    def threshold(self) -> float | None:
        """Smallest score that counts as positive; None if unknown."""
        threshold: float | None = self.run.get("config", {}).get("threshold")
        return threshold if threshold is not None else next((item.threshold for item in self.examinations), None)

    @property
    def score_name(self) -> str:
        """Name of a score: ``probability`` if the model was calibrated."""
        return "probability" if (self.run.get("model") or {}).get("calibration") else "score"

    @property
    def labels(self) -> dict[str, bool]:
        """Label of each evaluated ``exam_id``, True for metastasis; empty without labels."""
        return {} if self.evaluation is None else labels_of(self.evaluation)


def gather(config: ReportConfig, evaluation: Evaluation | None = None) -> Contents:
    """Read the contents of a page.

    Parameters
    ----------
    config
        Configuration of the command.
    evaluation
        Evaluation of these results, if there is one already; None computes it if there are labels.

    Raises
    ------
    UsageError
        There is no run, or labels or model do not belong to it.
    """
    out = out_of(config.results)
    run = read_run_file(out)
    if not run and not any(parts_in(out / table) for table in (RESULTS, OBJECTS)):
        raise UsageError(f"{config.results} holds no run: give the --out folder of bsbatch run")
    page = config.out or out / PAGE
    if page.is_dir():
        raise UsageError(f"{page} is a folder: --out names the file to write, such as {page / PAGE}")
    if evaluation is None and config.labels is not None:
        evaluation = _evaluate(
            EvaluationConfig(out, config.labels, page.parent, masks=config.masks, table=config.table)
        )
    card = _card_of(config.model, run)
    try:
        examinations = read_examinations(out)
        labels = {} if evaluation is None else labels_of(evaluation)
        find_lesions = _lesion_finder(config.masks, out, evaluation)
        pictures = pictures_of(out, _rank(examinations, labels), config.gallery, find_lesions)
        flow = _flow_of(out, run)
    except OutputError as error:
        raise UsageError(str(error)) from error
    return Contents(page, run, flow, examinations, pictures, links_of(out, page), evaluation, card)


def labels_of(evaluation: Evaluation) -> dict[str, bool]:
    """Label of each evaluated ``exam_id``, True for metastasis."""
    return {case.examination.exam_id: bool(case.label.is_positive) for case in evaluation.cohort.cases}


def _rank(examinations: Iterable[ExaminationRow], labels: Mapping[str, bool]) -> list[str]:
    """Put wrong decisions first, the others after them by falling score."""
    return [
        item.exam_id
        for item in sorted(
            examinations, key=lambda item: labels.get(item.exam_id, item.is_positive) == item.is_positive
        )
    ]


def _lesion_finder(masks: Path | None, out: Path, evaluation: Evaluation | None) -> FindLesions:
    if masks is None or evaluation is None:
        return lambda _: None
    views = read_views(out)
    studies = {case.examination.exam_id: case.label.study_uid for case in evaluation.cohort.cases}

    def find(exam_id: str) -> NDArray[np.bool_] | None:
        lesions = read_lesions(masks, studies[exam_id], views.get(exam_id)) if exam_id in studies else None
        return None if lesions is None else lesions.inside

    return find


def _evaluate(config: EvaluationConfig) -> Evaluation:
    require("sklearn", extra="evaluate")
    from bsbatch.evaluation.evaluate import evaluate  # noqa: PLC0415 - a report without labels needs no scikit-learn

    return evaluate(config)


def _flow_of(out: Path, run: RunFile) -> Flow:
    """Count the rows in the tables; ``run.json`` adds the files that have no row."""
    flow, counts = add_up(out), run.get("counts", {})
    flow.pending, flow.gone = counts.get("pending", 0), counts.get("gone", 0)
    flow.seen = max(counts.get("seen", 0), flow.seen - flow.gone)
    return flow


def _card_of(folder: Path | None, run: RunFile) -> Card | None:
    """Read the card of the run's model, never of another one."""
    model_id = (run.get("model") or {}).get("model_id")
    model = resolve_folder(folder if folder is not None else Path(DEMO))
    if folder is None and (model_id is None or not model.is_dir()):
        return None
    card_id = read_manifest(model).files[GRAPH][:16]
    if card_id != model_id:
        if folder is None:
            return None
        raise ModelError(
            f"--model {folder} is {card_id}, and the run was made with {model_id or 'no model'}: name that one"
        )
    return _read_card(model / _CARD, is_required=folder is not None)


def _read_card(path: Path, *, is_required: bool) -> Card | None:
    try:
        card = json.loads(read_plain(path, _LARGEST_CARD))
    except FileNotFoundError:
        if is_required:
            raise ModelError(f"{path.parent} has no card yet: bsbatch-build card {path.parent}") from None
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: make it again with bsbatch-build card {path.parent}") from error
    return card if isinstance(card, dict) else None
