"""``bsbatch bench``: measure throughput and latency on this machine, or of a Ray cluster."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.bench.settings import SYNTHETIC, BenchConfig, Pace, StageName, Subject
from bsbatch.cli.options import (
    DEFAULT_CLUSTER,
    Executor,
    Patience,
    RayAddress,
    WorkerCpus,
    WorkerGpus,
    Workers,
    backend_option,
    cluster_of,
)
from bsbatch.cli.terminal import Terminal
from bsbatch.config import BackendName, ExecutorName
from bsbatch.errors import OutputError, UsageError

_WHAT, _HOW = "What to measure", "How to measure"


def bench(
    archive: Annotated[
        Path | None,
        typer.Argument(help="Folder with DICOM files.", readable=False, show_default="synthetic examinations"),
    ] = None,
    *,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Model directory, or demo. Needed for --stage infer, all.", show_default=False, rich_help_panel=_WHAT
        ),
    ] = None,
    stage: Annotated[
        StageName, typer.Option(help="Headers, arrays, bare backend, or the whole run.", rich_help_panel=_WHAT)
    ] = StageName.ALL,
    synthetic: Annotated[
        int | None,
        typer.Option(help="Number of examinations to make.", show_default=str(SYNTHETIC), rich_help_panel=_WHAT),
    ] = None,
    backend: Annotated[BackendName, backend_option(rich_help_panel=_WHAT)] = BackendName.AUTO,
    null_sink: Annotated[bool, typer.Option("--null-sink", help="Discard the rows.", rich_help_panel=_WHAT)] = False,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...", help="Batch sizes to measure.", show_default="the backend's", rich_help_panel=_HOW
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads.", show_default="one per CPU", rich_help_panel=_HOW),
    ] = None,
    executor: Executor = ExecutorName.LOCAL,
    ray_address: RayAddress = None,
    workers: Workers = "auto",
    worker_cpus: WorkerCpus = DEFAULT_CLUSTER.worker_cpus,
    worker_gpus: WorkerGpus = DEFAULT_CLUSTER.worker_gpus,
    patience: Patience = DEFAULT_CLUSTER.patience,
    warmup: Annotated[
        float, typer.Option(help="Seconds of warm-up, not counted.", rich_help_panel=_HOW)
    ] = Pace().warmup,
    duration: Annotated[float, typer.Option(help="Least seconds to measure.", rich_help_panel=_HOW)] = Pace().duration,
    iterations: Annotated[
        int | None,
        typer.Option(help="Least number of turns to measure.", show_default="10, whole runs 3", rich_help_panel=_HOW),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the results to this file.", show_default=False)
    ] = None,
) -> None:
    """Measure one stage: throughput, percentiles of the latency, shares of the stages.

    A turn is one batch with --stage infer, else the whole archive once. Exit codes: 0 done, 2 usage, 4 stopped.
    """
    config = BenchConfig(
        subject=Subject(archive, synthetic),
        model=model,
        stage=stage,
        backend=backend,
        null_sink=null_sink,
        batches=_parse_numbers(batch),
        threads=threads,
        pace=Pace(warmup, duration, iterations),
        cluster=cluster_of(executor, ray_address, workers, worker_cpus, worker_gpus, patience),
    )
    from bsbatch.bench.bench import bench as measure
    from bsbatch.cli.progress import QuietReporter
    from bsbatch.cli.timings import show

    report = measure(config, QuietReporter(Terminal(stderr=True)))
    if json_file is not None:
        _write(json_file, report.as_dict())
    show(Terminal(), report)


def _parse_numbers(words: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(",")) if words is not None else ()
    except ValueError as error:
        raise UsageError(f"--batch {words} is not a list of numbers: give for example 1,2,4,8") from error


def _write(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError.of(path, error) from error
