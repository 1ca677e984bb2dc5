"""``bsbatch watch``: screen a folder as files come."""

import faulthandler
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.options import (
    INPUT,
    OUTPUT,
    TUNING,
    Cam,
    Identify,
    Overlays,
    OverlayStyles,
    Pseudonymise,
    Quiet,
    Threads,
    Threshold,
    Tracer,
    backend_option,
)
from bsbatch.cli.terminal import Terminal
from bsbatch.config import BackendName, CamMode, Effort, OverlayFormat, OverlayStyle, RunConfig, Selection, TracerRule

_SETTLE = 60.0


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that DICOM files come into; subfolders, too.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the tables.", show_default=False, rich_help_panel=OUTPUT)],
    model: Annotated[
        Path | None, typer.Option(help="Model directory, or demo.", show_default=False, rich_help_panel=INPUT)
    ] = None,
    settle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Screen a study after this time without a new file.", rich_help_panel=INPUT
        ),
    ] = _SETTLE,
    threshold: Threshold = None,
    tracer: Tracer = TracerRule.BONE,
    backend: Annotated[BackendName, backend_option(rich_help_panel=TUNING)] = BackendName.AUTO,
    threads: Threads = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Serve Prometheus metrics to this machine.",
            show_default=False,
            rich_help_panel=TUNING,
        ),
    ] = None,
    pseudonymise: Pseudonymise = None,
    identify: Identify = False,
    cam: Cam = CamMode.NONE,
    overlay_format: Overlays = OverlayFormat.PNG,
    overlay_style: OverlayStyles = OverlayStyle.CONTOURS,
    quiet: Quiet = False,
) -> None:
    """Screen a folder as files come, until Ctrl-C; the tables are those of bsbatch run.

    The same command goes on.
    Exit codes: 0 ended by Ctrl-C or SIGTERM, 2 usage, 4 stopped (resumable).
    """
    from bsbatch.host.malloc import keep_freed_memory

    config = RunConfig(
        archive=folder,
        out=out,
        model=model,
        backend=backend,
        threshold=threshold,
        selection=Selection(tracer=tracer),
        effort=Effort(threads),
        cam=cam,
        overlay_format=overlay_format,
        overlay_style=overlay_style,
        keyfile=pseudonymise,
        is_identified=identify,
    )
    faulthandler.enable()  # a crash of compiled code is reported with its stack; the same command goes on
    keep_freed_memory()  # before the import of libraries that start threads
    from bsbatch.requirements import require

    require("watchfiles", extra="watch")
    from bsbatch.cli.progress import reporter_for
    from bsbatch.cli.summary import show
    from bsbatch.run.watch import Watch
    from bsbatch.run.watch import watch as watch_folder

    with reporter_for(Terminal(stderr=True), quiet=quiet) as reporter:
        report = watch_folder(config, Watch(settle, metrics_port), reporter)
    if report is not None and not quiet:
        show(Terminal(), report, config)
