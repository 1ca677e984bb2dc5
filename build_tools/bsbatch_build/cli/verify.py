"""``bsbatch-build verify``: hold the backends against Keras."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bsbatch.registry import load


def verify(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
    *,
    examinations: Annotated[int, typer.Option(help="Golden examinations: phantoms of centre C.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the phantoms.")] = 0,
    backend: Annotated[
        list[str] | None, typer.Option(help="Repeat for several.", show_default="all that are installed")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.", show_default=False)] = None,
) -> None:
    """Compare every backend with the Keras network on golden examinations.

    Probabilities may differ by 1e-5 at fp32 and by 5e-3 at fp16, and no label may flip away from the threshold.
    Exit codes: 0 all agree, 2 one differs or the model cannot be used, 4 a backend died.
    """
    settings = load("bsbatch_build.checks.verify:ParitySettings")(model, examinations, seed, tuple(backend or ()))
    report = _compare(settings)
    if json is not None:
        load("bsbatch_build.files:write_json")(json, report.content())
    _show(Console(emoji=False), report)
    report.check()


def _compare(settings: Any) -> Any:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading the model", total=settings.steps)
        return load("bsbatch_build.checks.verify:compare")(
            settings, lambda what: progress.update(task, advance=1, description=what)
        )


def _show(console: Console, report: Any) -> None:
    model, settings = report.model, report.settings
    lines = (
        f"model         {model.folder}",
        f"name          {model.manifest.name}",
        f"id            {model.model_id}",
        f"examinations  {settings.examinations} phantoms, {report.positives} with metastasis, seed {settings.seed}",
        f"threshold     {model.manifest.threshold:g}",
        f"Keras         ROC AUC {report.auc:.4f} on them",
    )
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
    console.print(_table(report))
    for name in report.not_for:
        console.print(f"{name} is for graphs of another kind and was left out.", highlight=False)
    notes = "Flips: labels that differ; beside them those of scores within the tolerance of the threshold."
    console.print(notes, highlight=False, style="dim")
    console.print("Research use only, not for clinical use.", style="dim")


def _table(report: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("backend", no_wrap=True)
    for name in ("precision", "largest", "mean", "tolerance", "flips", "AUC", "verdict"):
        table.add_column(name, justify="right", no_wrap=True)
    for parity in report.backends:
        table.add_row(
            parity.backend,
            parity.precision,
            f"{parity.difference:.1e}",
            f"{parity.mean_difference:.1e}",
            f"{parity.tolerance:.0e}",
            f"{parity.flips} + {parity.flips_at_threshold}",
            f"{parity.auc_difference:+.4f}",
            "[green]agrees[/]" if parity.holds else "[bold red]differs[/]",
        )
    for name in report.refused:
        table.add_row(name, *["-"] * 6, "[bold red]refuses[/]")
    return table
