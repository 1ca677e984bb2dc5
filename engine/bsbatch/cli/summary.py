"""The flow table at the end of a run."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bsbatch.config import RunConfig
from bsbatch.reasons import Status

_WORDS = {
    "complete": "complete: every file is accounted for",
    "limited": "stopped at --limit; run again without it to go on",
    "interrupted": "interrupted; the same command goes on",
    "planned": "planned only, nothing was scored or written",
}


def show(console: Console, report: Any, config: RunConfig) -> None:
    """Print the flow of a `bsbatch.run.screen.Report`: files, what became of them, examinations, scores."""
    is_plan = report.ending == "planned"
    console.print(_flow_table(report.flow, is_plan=is_plan))
    console.print(f"Run {_WORDS[report.ending]}.", highlight=False)
    if report.flow.gone:
        console.print(f"{report.flow.gone} files of earlier runs are gone from the archive; their rows stay.")
    if report.flow.error_rate > config.max_error_rate and report.ending != "interrupted":
        _warn(console, report.flow.error_rate, config.max_error_rate)
    if not is_plan:
        _show_place(console, report, config)
    console.print("Research use only, not for clinical use.", style="dim")


def _warn(console: Console, error_rate: float, limit: float) -> None:
    console.print(
        f"[yellow]{error_rate:.1%} of the examinations failed, more than --max-error-rate {limit:g}: exit code 3.[/]",
        highlight=False,
    )


def _show_place(console: Console, report: Any, config: RunConfig) -> None:
    rate = report.scored / report.seconds if report.seconds else 0.0
    if report.model_name:
        console.print(f"Model: {report.model_name}", highlight=False, markup=False)
    console.print(f"Scored now: {report.scored} in {report.seconds:.1f} s ({rate:.2f}/s)", highlight=False)
    console.print(f"Results: {config.out}/results  {config.out}/objects", highlight=False, markup=False, soft_wrap=True)
    if config.has_overlays:
        console.print(f"Overlays: {config.out}/overlays", highlight=False, markup=False, soft_wrap=True)


def _flow_table(flow: Any, *, is_plan: bool) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("[bold]files seen[/]", f"[bold]{flow.seen}[/]")
    for status in Status:
        _add(table, f"  {status}", flow.objects[status])
        for (found, reason), count in sorted(flow.object_reasons.items(), key=lambda item: -item[1]):
            if found == status:
                _add(table, f"    {reason}", count, "dim")
    if flow.pending:
        _add(table, "  not decided yet", flow.pending)
    table.add_row("[bold]examinations[/]", f"[bold]{flow.examinations.total()}[/]")
    _add(table, "  to be scored" if is_plan else "  scored", flow.examinations["ok"])
    if not is_plan:
        _add(table, "    predicted metastasis", flow.positive, "dim")
    _add(table, "  failed", flow.examinations[Status.FAILED])
    for reason, count in flow.examination_reasons.most_common():
        _add(table, f"    {reason}", count, "dim")
    return table


def _add(table: Table, name: str, count: int, style: str | None = None) -> None:
    table.add_row(name, str(count), style=style)
