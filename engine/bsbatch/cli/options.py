"""Options of several commands."""

from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bsbatch.config import OFFERED_BACKENDS, BackendName, CamMode, OverlayFormat, OverlayStyle, TracerRule
from bsbatch.errors import UsageError

INPUT, TUNING, OUTPUT, CLUSTER = "What to screen", "How to run", "What to write", "On several machines"
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
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.", rich_help_panel=OUTPUT)]
