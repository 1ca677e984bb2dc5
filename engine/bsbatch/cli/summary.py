"""The summary at the end of ``bsbatch run``: its flow as a table, and the paths of its results."""

from rich.console import Console
from rich.table import Table

from bsbatch.cli.exits import DONE, INTERRUPTED, TOO_MANY_FAILED
from bsbatch.cli.terminal import printable
from bsbatch.config import RunConfig
from bsbatch.notice import SENTENCE
from bsbatch.reasons import Status
from bsbatch.run.report import ClusterFacts, Ending, Report
from bsbatch.store.flow import Flow

_WORDS = {
    Ending.COMPLETE: "complete: every file is accounted for",
    Ending.LIMITED: "stopped at --limit; run again without it to go on",
    Ending.INTERRUPTED: "interrupted; the same command goes on",
    Ending.PLANNED: "planned only, nothing was scored or written",
}


def show(console: Console, report: Report, config: RunConfig) -> None:
    """Print counts of files, examinations and reasons, the ending, warnings and the paths of the results."""
    is_plan = report.ending is Ending.PLANNED
    console.print(flow_table(report.flow, is_plan=is_plan))
    console.print(f"Run {_WORDS[report.ending]}.", highlight=False)
    if report.flow.gone:
        console.print(f"{report.flow.gone} files of earlier runs are gone from the archive; their rows stay.")
    explain_exit(console, report, config)
    if is_plan:
        _show_forecast(console, report)
    else:
        _show_results(console, report, config)
    console.print(SENTENCE, style="dim")


def exit_code_of(report: Report, config: RunConfig) -> int:
    """Exit code of a run that came to its end or was interrupted."""
    if report.ending is Ending.INTERRUPTED:
        return INTERRUPTED
    return TOO_MANY_FAILED if _find_excess(report, config) else DONE


def explain_exit(console: Console, report: Report, config: RunConfig) -> None:
    """Print why the exit code is not 0, if the summary does not say so already; with ``--quiet``, too."""
    excess = _find_excess(report, config)
    if excess and report.ending is not Ending.INTERRUPTED:
        console.print(
            f"[yellow]{excess} failed, more than --max-error-rate {config.max_error_rate:g}: exit code 3.[/]",
            highlight=False,
        )


def _find_excess(report: Report, config: RunConfig) -> str:
    """Return the share of the examinations or of the files that failed, if it is too large; else nothing."""
    flow, most = report.flow, config.max_error_rate
    if flow.error_rate > most:
        return f"{flow.error_rate:.1%} of the examinations"
    return f"{flow.file_error_rate:.1%} of the files" if flow.file_error_rate > most else ""


def _show_forecast(console: Console, report: Report) -> None:
    scans = report.flow.examinations["ok"]
    if not scans:
        return
    if report.rate is None:
        words = "how long that takes here is measured by the first run with a model, or by bsbatch bench --model MODEL"
    else:
        words = f"about {report.rate.forecast(scans)}, measured {report.rate.measured}"
    console.print(f"To be scored: {scans} examinations; {words}.", highlight=False, soft_wrap=True)


def _show_results(console: Console, report: Report, config: RunConfig) -> None:
    rate = report.scored / report.seconds if report.seconds else 0.0
    if report.model_name:
        console.print(f"Model: {report.model_name}", highlight=False, markup=False)
    console.print(f"Scored now: {report.scored} in {report.seconds:.1f} s ({rate:.2f}/s)", highlight=False)
    if report.cluster is not None:
        console.print(words_of(report.cluster), highlight=False)
    out = printable(str(config.out))
    console.print(f"Results: {out}/results  {out}/objects", highlight=False, markup=False, soft_wrap=True)
    if config.has_overlays:
        console.print(f"Overlays: {out}/overlays", highlight=False, markup=False, soft_wrap=True)


def words_of(cluster: ClusterFacts) -> str:
    """Return the workers of a cluster, those lost and the units done again, in one line."""
    return f"Workers: {cluster.workers}, lost: {cluster.lost}, units done again: {cluster.again}"


def flow_table(flow: Flow, *, is_plan: bool = False) -> Table:
    """Return the counts of files and examinations by status and reason as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("name")
    table.add_column("count", justify="right")
    table.add_row("[bold]files seen[/]", f"[bold]{flow.seen}[/]")
    for status in Status:
        _add_row(table, f"  {status}", flow.objects[status])
        for (of_status, reason), count in sorted(flow.object_reasons.items(), key=lambda item: -item[1]):
            if of_status == status:
                _add_row(table, f"    {reason}", count, "dim")
    if flow.pending:
        _add_row(table, "  not decided yet", flow.pending)
    table.add_row("[bold]examinations[/]", f"[bold]{flow.examinations.total()}[/]")
    _add_row(table, "  to be scored" if is_plan else "  scored", flow.examinations["ok"])
    if not is_plan:
        _add_row(table, "    predicted metastasis", flow.positive, "dim")
    _add_row(table, "  failed", flow.examinations[Status.FAILED])
    for reason, count in flow.examination_reasons.most_common():
        _add_row(table, f"    {reason}", count, "dim")
    return table


def _add_row(table: Table, name: str, count: int, style: str | None = None) -> None:
    table.add_row(name, str(count), style=style)
