"""Options of several commands."""

from difflib import get_close_matches
from functools import partial

import typer

from bsbatch.config import OFFERED_BACKENDS, BackendName
from bsbatch.errors import UsageError


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
