"""Options of several commands."""

from datetime import date
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.config import (
    OFFERED_BACKENDS,
    BackendName,
    CamMode,
    Cluster,
    ExecutorName,
    OverlayFormat,
    OverlayStyle,
    TracerRule,
)
from bsbatch.errors import UsageError

INPUT, STUDIES, TUNING = "What to screen", "Which studies to score", "How to run"
OUTPUT, CLUSTER = "What to write", "On several machines"
"""Panels of the help pages."""


def parse_backend(name: str) -> BackendName:
    """Return the backend of a name.

    Raises
    ------
    UsageError
        There is none; the message lists them, and first the ones that may be meant.
    """
    if name in tuple(BackendName):
        return BackendName(name)
    meant = [str(known) for known in OFFERED_BACKENDS if name in known] or get_close_matches(name, OFFERED_BACKENDS)
    guess = f" Did you mean {' or '.join(meant)}?" if name and meant else ""
    raise UsageError(f"no --backend is called {name!r}.{guess} The backends are {', '.join(OFFERED_BACKENDS)}")


def cluster_of(
    executor: ExecutorName,
    ray_address: str | None,
    workers: str,
    worker_cpus: float,
    worker_gpus: float,
    patience: float,
) -> Cluster | None:
    """Return the cluster that the options describe; None for this process.

    Raises
    ------
    UsageError
        A value cannot be used, or is given without ``--executor ray``.
    """
    if workers != "auto" and not workers.isdecimal():
        raise UsageError(f"--workers {workers} is neither a number nor auto")
    number = None if workers == "auto" else int(workers)
    cluster = Cluster(ray_address, number, worker_cpus, worker_gpus, patience)
    if executor is ExecutorName.RAY:
        return cluster
    if cluster != DEFAULT_CLUSTER:
        raise UsageError(
            "--ray-address, --workers, --worker-cpus, --worker-gpus and --patience describe a Ray cluster: add "
            "--executor ray"
        )
    return None


def parse_day(text: str) -> date:
    """Return a date.

    Raises
    ------
    UsageError
        It is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no date: write 2026-01-31") from error


backend_option = partial(
    typer.Option,
    parser=parse_backend,
    metavar="NAME",
    help="auto, the fastest here; winograd, mnn, onnxruntime; on NVIDIA GPUs tensorrt, onnxruntime:tensorrt, "
    "onnxruntime:cuda.",
)
"""The option ``--backend``."""

Threshold = Annotated[
    float | None,
    typer.Option(help="Smallest score of a positive scan.", show_default="the model's", rich_help_panel=INPUT),
]
Tracer = Annotated[
    TracerRule, typer.Option(help="Score scans of bone tracers, or of any radionuclide.", rich_help_panel=INPUT)
]
_study = partial(typer.Option, show_default=False, rich_help_panel=STUDIES)
_day = partial(_study, parser=parse_day, metavar="DATE")
Since = Annotated[date | None, _day(help="First date of a study, 2026-01-31.")]
Until = Annotated[date | None, _day(help="Last date of a study.")]
Manufacturer = Annotated[str | None, _study(help="Part of Manufacturer.")]
Accessions = Annotated[Path | None, _study(metavar="FILE", help="Accession Numbers, one a line.")]
Exclude = Annotated[Path | None, _study(metavar="FILE", help="Accession Numbers or study UIDs to leave out.")]
WorklistFile = Annotated[
    Path | None,
    _study("--worklist", metavar="FILE", help="File of bsbatch select or worklist, or study UIDs, one a line."),
]
Threads = Annotated[int | None, typer.Option(help="Threads.", show_default="one per CPU", rich_help_panel=TUNING)]
Pseudonymise = Annotated[
    Path | None,
    typer.Option(
        metavar="KEYFILE",
        help="Replace UIDs and paths with keyed hashes.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Identify = Annotated[
    bool, typer.Option("--identify", help="Write Patient ID, Accession Number, age ...", rich_help_panel=OUTPUT)
]
Cam = Annotated[CamMode, typer.Option(help="Examinations that get a heat map (Grad-CAM).", rich_help_panel=OUTPUT)]
Overlays = Annotated[
    OverlayFormat, typer.Option(help="File format of heat maps drawn over the scans.", rich_help_panel=OUTPUT)
]
OverlayStyles = Annotated[
    OverlayStyle, typer.Option(help="Contours at 30 and 60 %, or colours over the scan.", rich_help_panel=OUTPUT)
]
DEFAULT_CLUSTER = Cluster()
Executor = Annotated[
    ExecutorName, typer.Option(help="Work in this process, or on a Ray cluster.", rich_help_panel=CLUSTER)
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Head of it.", show_default="of this machine", rich_help_panel=CLUSTER),
]
Workers = Annotated[str, typer.Option(metavar="N|auto", help="Workers; auto, as many as fit.", rich_help_panel=CLUSTER)]
WorkerCpus = Annotated[float, typer.Option(help="CPUs of a worker.", rich_help_panel=CLUSTER)]
WorkerGpus = Annotated[float, typer.Option(help="GPUs of a worker.", rich_help_panel=CLUSTER)]
Patience = Annotated[float, typer.Option(help="Seconds to wait for a worker, or its answer.", rich_help_panel=CLUSTER)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.", rich_help_panel=OUTPUT)]
