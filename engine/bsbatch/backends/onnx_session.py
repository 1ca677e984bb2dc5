"""ONNX Runtime sessions: opened with the same options everywhere, its errors raised as bsbatch's own.

Importing this module does not import ONNX Runtime.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import BackendError, ModelError

Tensor = NDArray[np.float32] | NDArray[np.float16]
Provider = tuple[str, dict[str, str]]
"""Name of an execution provider, and its options."""
CPU: tuple[Provider, ...] = (("CPUExecutionProvider", {}),)
ADVICE = "try a smaller --batch-size; the same command goes on where this run stopped"
_ERRORS_ONLY = 3
"""Log severity."""


class Session(Protocol):
    """The methods of ``onnxruntime.InferenceSession`` that bsbatch calls."""

    def run(self, output_names: Sequence[str], input_feed: Mapping[str, Tensor]) -> list[NDArray[np.float32]]:
        """Compute the named outputs from the inputs by name."""
        ...

    def get_providers(self) -> list[str]:
        """Names of the execution providers in use, in order of preference."""
        ...

    def disable_fallback(self) -> None:
        """Raise an error if a provider fails, instead of continuing with the next one."""
        ...


def open_session(
    graph: Path | bytes, name: Path | str, *, threads: int | None = None, providers: Sequence[Provider] = CPU
) -> Session:
    """Load a graph into ONNX Runtime.

    Parameters
    ----------
    graph
        An ONNX file, or its bytes.
    name
        The graph's name in an error message.
    threads
        Threads of one operator; None for ONNX Runtime's default, one for each core.
    providers
        Execution providers in order of preference.

    Raises
    ------
    ModelError
        ONNX Runtime cannot load the graph.
    """
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    with translate_load_errors(name):
        session: Session = runtime.InferenceSession(graph, sess_options=options, providers=list(providers))
        return session


@contextmanager
def translate_load_errors(name: Path | str) -> Iterator[None]:
    """Raise every exception of the block as a `ModelError` that names the graph."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's errors share no public base class
        raise ModelError(f"ONNX Runtime cannot load {name}: {type(error).__name__}") from error


@contextmanager
def translate_run_errors(images: int, advice: str = ADVICE) -> Iterator[None]:
    """Raise every exception of the block as a `BackendError` with the number of images and advice."""
    try:
        yield
    except Exception as error:  # onnxruntime's errors share no public base class
        raise BackendError(f"ONNX Runtime failed on a batch of {images} ({type(error).__name__}): {advice}") from error
