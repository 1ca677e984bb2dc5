"""``bsbatch demo``: screen synthetic scans with the demo model and compare the scores with the labels."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bsbatch.cli.options import backend_option
from bsbatch.cli.terminal import Terminal
from bsbatch.config import BackendName, CamMode, RunConfig
from bsbatch.errors import UsageError
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.evaluation.settings import require_packages as require_evaluation
from bsbatch.html_report.settings import ReportConfig
from bsbatch.html_report.settings import require_packages as require_report
from bsbatch.requirements import Requirement
from bsbatch.run.forecast import duration

_CENTRE = "C"
"""The external centre: none of its cameras was in the training set of the demo model."""
_SEED = 20_231
"""A seed without use in training or tests of the demo model."""

_SECONDS = 0.9
"""Seconds for one examination on two cores with AVX-512, drawing, scoring and the report included."""


def demo(
    *,
    studies: Annotated[int, typer.Option(min=4, help="Number of synthetic examinations.")] = 64,
    out: Annotated[Path, typer.Option(help="New or empty folder for all files.")] = Path("bsbatch-demo"),
    backend: Annotated[BackendName, backend_option()] = BackendName.AUTO,
) -> None:
    """Make synthetic bone scans of a hospital unknown to the model, screen them, and compare scores with labels.

    The demo model is trained on synthetic phantoms: not for clinical use.
    """
    Requirement("bsbatch_build").check()
    require_evaluation()
    require_report()
    if out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise UsageError(f"{out} is not empty: name a new folder, --out FOLDER, or delete it")
    console, started = Terminal(), time.monotonic()
    expected = duration(studies * _SECONDS)
    console.print(f"{studies} synthetic examinations: about {expected} on two idle cores.", highlight=False)
    _make_phantoms(out / "set", studies, console)
    _screen(out, backend, console)
    _evaluate(out, console)
    console.print(_list_files(out), soft_wrap=True, highlight=False, markup=False)
    console.print(f"Done in {duration(time.monotonic() - started)}.", highlight=False)


def _make_phantoms(folder: Path, studies: int, console: Console) -> None:
    from bsbatch_build.phantom.archive import write_set
    from bsbatch_build.phantom.plan import SetPlan

    plan = SetPlan(studies, _SEED, (_CENTRE,))
    with console.status(f"drawing {studies} synthetic examinations"):
        try:
            write_set(folder, plan)
        except ValueError as error:
            raise UsageError(f"{error} Name another one: --out FOLDER") from error


def _screen(out: Path, backend: BackendName, console: Console) -> None:
    from bsbatch.cli.progress import reporter_for
    from bsbatch.cli.summary import show
    from bsbatch.models.directory import DEMO
    from bsbatch.run.screen import screen

    config = RunConfig(
        archive=out / "set" / "archive",
        out=out / "run",
        model=Path(DEMO),
        backend=backend,
        max_error_rate=1.0,
        cam=CamMode.POSITIVE,
    )
    with reporter_for(Terminal(stderr=True), quiet=False) as reporter:
        report = screen(config, reporter)
    show(console, report, config)


def _evaluate(out: Path, console: Console) -> None:
    from bsbatch.cli.scorecard import show
    from bsbatch.evaluation.evaluate import evaluate
    from bsbatch.evaluation.report_files import write_report
    from bsbatch.html_report.page import write_page

    labels, masks = out / "set" / "labels.csv", out / "set" / "masks"
    evaluation = evaluate(EvaluationConfig(out / "run", labels, out / "report", masks=masks))
    write_report(evaluation)
    show(console, evaluation)
    write_page(ReportConfig(out / "run", labels=labels, masks=masks), evaluation)


def _list_files(out: Path) -> str:
    return "\n".join(
        (
            "The scans are synthetic, and so were those of the training: the metrics say nothing about patients.",
            f"archive  {out / 'set' / 'archive'}",
            f"results  {out / 'run' / 'results'} and {out / 'run' / 'objects'}",
            f"overlays {out / 'run' / 'overlays'}: heat maps over the scans; see sheet-0001.png first",
            f"metrics  {out / 'report' / 'metrics.json'} and {out / 'report' / 'figures'}",
            f"report   {out / 'run' / 'report.html'}: open it in a browser",
        )
    )
