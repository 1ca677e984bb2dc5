"""``bsbatch run``: screen an archive."""

import faulthandler
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.options import (
    DEFAULT_CLUSTER,
    INPUT,
    OUTPUT,
    TUNING,
    Accessions,
    Cam,
    Exclude,
    Executor,
    Identify,
    Manufacturer,
    Overlays,
    OverlayStyles,
    Patience,
    Pseudonymise,
    Quiet,
    RayAddress,
    Since,
    Threads,
    Threshold,
    Tracer,
    Until,
    WorkerCpus,
    WorkerGpus,
    Workers,
    WorklistFile,
    backend_option,
    cluster_of,
)
from bsbatch.cli.terminal import Terminal
from bsbatch.config import (
    BackendName,
    CamEngine,
    CamMode,
    Effort,
    ExecutorName,
    OverlayFormat,
    OverlayStyle,
    RunConfig,
    Selection,
    StudyChoice,
    TracerRule,
)

_Model = Annotated[
    Path | None,
    typer.Option(help="Model directory, or demo. Needed but for --dry-run.", show_default=False, rich_help_panel=INPUT),
]
_CamEngine = Annotated[
    CamEngine, typer.Option(help="Compute heat maps in the backend, or with model.keras.", rich_help_panel=OUTPUT)
]
_Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the tables. Needed but for --dry-run.", show_default=False, rich_help_panel=OUTPUT),
]
_Limit = Annotated[
    int | None,
    typer.Option(help="Largest number of examinations to process.", show_default=False, rich_help_panel=INPUT),
]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Delete the tables in --out first.", rich_help_panel=OUTPUT)]
_Moved = Annotated[
    bool, typer.Option("--archive-moved", help="Go on in --out: same archive, another path.", rich_help_panel=OUTPUT)
]


def run(
    archive: Annotated[
        str,
        typer.Argument(
            help="Folder with DICOM files, subfolders, too; or a bucket: s3://, gs:// or az://.", show_default=False
        ),
    ],
    *,
    model: _Model = None,
    out: _Out = None,
    threshold: Threshold = None,
    assume_frame_order: Annotated[
        bool,
        typer.Option("--assume-frame-order", help="Unlabelled frames: anterior first.", rich_help_panel=INPUT),
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(help="Largest rows x columns x frames of an object.", rich_help_panel=INPUT)
    ] = Selection().max_pixels,
    tracer: Tracer = TracerRule.BONE,
    limit: _Limit = None,
    since: Since = None,
    until: Until = None,
    manufacturer: Manufacturer = None,
    accessions: Accessions = None,
    exclude: Exclude = None,
    worklist: WorklistFile = None,
    backend: Annotated[BackendName, backend_option(rich_help_panel=TUNING)] = BackendName.AUTO,
    threads: Threads = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Examinations in one inference.", show_default="the backend's", rich_help_panel=TUNING),
    ] = None,
    unit_size: Annotated[
        int | None,
        typer.Option(help="Examinations in one commit.", show_default="about a minute's", rich_help_panel=TUNING),
    ] = None,
    max_error_rate: Annotated[
        float,
        typer.Option(help="Exit with 3 above this failed share of examinations or files.", rich_help_panel=TUNING),
    ] = 0.05,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read only headers and show the plan.", rich_help_panel=TUNING)
    ] = False,
    pseudonymise: Pseudonymise = None,
    identify: Identify = False,
    cam: Cam = CamMode.NONE,
    cam_engine: _CamEngine = CamEngine.FUSED,
    overlay_format: Overlays = OverlayFormat.PNG,
    overlay_style: OverlayStyles = OverlayStyle.CONTOURS,
    fresh: _Fresh = False,
    archive_moved: _Moved = False,
    executor: Executor = ExecutorName.LOCAL,
    ray_address: RayAddress = None,
    workers: Workers = "auto",
    worker_cpus: WorkerCpus = DEFAULT_CLUSTER.worker_cpus,
    worker_gpus: WorkerGpus = DEFAULT_CLUSTER.worker_gpus,
    patience: Patience = DEFAULT_CLUSTER.patience,
    quiet: Quiet = False,
) -> None:
    """Screen an archive: one row for each examination and one for each object.

    The same command resumes a stopped run.
    Exit codes: 0 done, 2 usage, 3 too many failed, 4 stopped (resumable), 130 interrupted.
    """
    config = RunConfig(
        archive=archive,
        out=out,
        model=model,
        backend=backend,
        threshold=threshold,
        selection=Selection(assume_frame_order, max_pixels, tracer),
        studies=StudyChoice(since, until, manufacturer, accessions, exclude, worklist),
        effort=Effort(threads, batch_size, unit_size),
        max_error_rate=max_error_rate,
        limit=limit,
        cam=cam,
        cam_engine=cam_engine,
        overlay_format=overlay_format,
        overlay_style=overlay_style,
        keyfile=pseudonymise,
        is_identified=identify,
        fresh=fresh,
        archive_moved=archive_moved,
        dry_run=dry_run,
        cluster=cluster_of(executor, ray_address, workers, worker_cpus, worker_gpus, patience),
    )
    raise typer.Exit(_screen(config, quiet=quiet))


def _screen(config: RunConfig, *, quiet: bool) -> int:
    """Screen the archive, print the summary and return the exit code."""
    from bsbatch.host.malloc import keep_freed_memory

    faulthandler.enable()  # a crash of compiled code is reported with its stack; the same command goes on
    keep_freed_memory()  # before the import of libraries that start threads
    from bsbatch.cli.progress import reporter_for
    from bsbatch.cli.summary import exit_code_of, explain_exit, show
    from bsbatch.run.screen import screen

    with reporter_for(Terminal(stderr=True), quiet=quiet) as reporter:
        report = screen(config, reporter)
    if quiet:
        explain_exit(Terminal(stderr=True), report, config)
    else:
        show(Terminal(), report, config)
    return exit_code_of(report, config)
