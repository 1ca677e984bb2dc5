"""Tables of a measurement, for ``bsbatch bench``."""

from rich.console import Console
from rich.table import Table

from bsbatch.bench.bench import BenchReport, Measurement
from bsbatch.bench.latency import Latency
from bsbatch.bench.measure import LATENCY, WAITED
from bsbatch.bench.settings import StageName
from bsbatch.cli.summary import words_of
from bsbatch.notice import SENTENCE

_TURNS = {
    StageName.SKIM: "the archive once, files to verdicts",
    StageName.INTAKE: "the archive once, files to arrays",
    StageName.INFER: "one batch, arrays to probabilities",
    StageName.ALL: "the archive once, files to committed tables",
}
_NULL_SINK = "the archive once, files to probabilities"
_COLUMNS = ("min", "mean", "median", "p90", "p95", "p99", "max", "CoV %")
_MILLI, _GIGA = 1e3, 1e-9
_WIDE = 1000.0


def show(console: Console, report: BenchReport) -> None:
    """Print the stage, throughput, latencies, shares of the stages, arithmetic, machine and warnings."""
    _print(console, f"[bold]{report.config.stage}[/]: {_describe_turn(report)}")
    console.print(f"On {report.archive}", highlight=False, markup=False)
    if report.backend:
        console.print(f"Model {report.model_name or 'none'}, backend {report.backend}", highlight=False, markup=False)
    if (cluster := report.config.cluster) is not None:
        _print(console, f"Ray cluster, of each worker {cluster.worker_cpus:g} CPUs and {cluster.worker_gpus:g} GPUs")
    console.print(_throughput_table(report))
    console.print(_latency_table(report))
    for item in report.measurements:
        _show_workers(console, item)
        _show_shares(console, item)
    _show_ceiling(console, report)
    for item in report.measurements:
        _show_devices(console, report, item)
    _show_machine(console, report)
    _warn_of_scatter(console, report)
    console.print(SENTENCE, style="dim")


def _describe_turn(report: BenchReport) -> str:
    turn = _NULL_SINK if report.config.null_sink else _TURNS[report.config.stage]
    pace = report.config.pace
    iterations = report.config.iterations
    return f"a turn is {turn}; at least {iterations} turns and {pace.duration:g} s after {pace.warmup:g} s of warm-up"


def _throughput_table(report: BenchReport) -> Table:
    table = _table("batch", "turns", report.unit, f"throughput {report.unit}/s")
    for item in report.measurements:
        timing = item.timing
        table.add_row(_batch(item), str(timing.turns), str(timing.items), f"{timing.throughput:,.4g}")
    return table


def _latency_table(report: BenchReport) -> Table:
    table = _table("batch", "ms", *_COLUMNS)
    for item in report.measurements:
        for name, latency in item.timing.series.items():
            table.add_row(_batch(item) if name == LATENCY else "", name, *_cells(latency))
    return table


def _cells(latency: Latency) -> list[str]:
    seconds = (
        latency.minimum,
        latency.mean,
        latency.median,
        latency.p90,
        latency.p95,
        latency.p99,
        latency.maximum,
    )
    variation = "-" if latency.variation is None else f"{100 * latency.variation:.1f}"
    return [*(_milliseconds(value) for value in seconds), variation]


def _milliseconds(seconds: float) -> str:
    value = _MILLI * seconds
    return f"{value:.0f}" if value >= _WIDE else f"{value:.4g}"


def _show_workers(console: Console, item: Measurement) -> None:
    if item.timing.cluster is not None:
        _print(console, f"{words_of(item.timing.cluster)}{_at(item)}")


def _show_shares(console: Console, item: Measurement) -> None:
    if item.timing.shares:
        shares = ", ".join(f"{stage} {share:.1%}" for stage, share in item.timing.shares.items())
        _print(console, f"Busy time{_at(item)}: {shares}")


def _show_ceiling(console: Console, report: BenchReport) -> None:
    if not report.backend:
        return
    for item in report.measurements:
        flops, share = report.ceiling.flops(item.timing.throughput), report.ceiling.share(item.timing.throughput)
        if flops is None:
            _print(console, "Arithmetic: unknown for this model.")
            return
        words = (
            f"{share:.0%} of the {report.ceiling.precision} peak"
            if share is not None
            else f"the peak of {_machines(report)} cannot be read"
        )
        _print(console, f"Arithmetic{_at(item)}: {_GIGA * flops:.4g} GFLOP/s as direct convolution; {words}")


def _show_devices(console: Console, report: BenchReport, item: Measurement) -> None:
    timing, share = item.timing, report.share_computing(item)
    if timing.computing is not None:
        waited = _milliseconds(timing.series[WAITED].mean)
        peak = f", at {share:.0%} of their {report.ceiling.precision} peak" if share is not None else ""
        _print(
            console, f"GPUs{_at(item)}: computed {timing.computing:.1%} of the time{peak}; waited {waited} ms a turn"
        )


def _show_machine(console: Console, report: BenchReport) -> None:
    machine = report.environment["machine"]
    load = ", ".join(str(value) for value in machine["load_average"])
    driver = "" if report.config.cluster is None else "Driver: "
    words = f"{driver}{machine['processor']}, {machine['usable_cpus']} CPUs, load average {load}"
    for name in (words, *report.environment["gpus"]):
        console.print(name, highlight=False, markup=False, style="dim")


def _warn_of_scatter(console: Console, report: BenchReport) -> None:
    latencies = [(item, item.timing.series[LATENCY]) for item in report.measurements]
    scatter = ", ".join(f"{latency.variation:.1%}{_at(item)}" for item, latency in latencies if latency.is_unstable)
    if scatter:
        words = f"Unstable: the turns scatter by {scatter} (above 2.5 %). Stop other programs or raise --duration."
        _print(console, f"[yellow]{words}[/]")


def _machines(report: BenchReport) -> str:
    return "this machine" if report.config.cluster is None else "the cluster"


def _batch(item: Measurement) -> str:
    return "-" if item.batch is None else str(item.batch)


def _at(item: Measurement) -> str:
    return f" at batch {item.batch}" if item.batch is not None else ""


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print(console: Console, words: str) -> None:
    console.print(words, highlight=False)
