"""The heavy packages that make models: imported late, in this one place, and without their log noise."""

import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bsbatch.errors import MissingPackageError, UsageError

logger = logging.getLogger(__name__)

BACKEND = "tensorflow"
STDERR = 2


def package(name: str) -> Any:
    """Import a package of the extra ``build``.

    Raises
    ------
    MissingPackageError
        It, or a package it needs, is not installed; the message is the install line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f'{error.name or name} is not installed: pip install "bsbatch[build]"') from error


def tensorflow() -> Any:
    """Import TensorFlow, with what its C++ side writes to the terminal held back."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _native_stderr_held():
        loaded = package("tensorflow")
        loaded.zeros(())  # the first operation greets, too
        return loaded


def keras() -> Any:
    """Import Keras on TensorFlow.

    Raises
    ------
    UsageError
        ``KERAS_BACKEND``, or a Keras that is loaded already, names another backend: the way to ONNX is TensorFlow's.
    """
    _refuse_other_backend(os.environ.setdefault("KERAS_BACKEND", BACKEND))
    tensorflow()
    loaded = package("keras")
    _refuse_other_backend(loaded.config.backend())
    return loaded


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and have TensorFlow take the same order of additions every time."""
    keras().utils.set_random_seed(seed)


def save(network: Any, path: Path) -> None:
    """Save a Keras model as ``.keras``, or only its weights and its optimiser's as ``.weights.h5``."""
    with warnings.catch_warnings():
        # Keras 3.15 calls np.array(variable), which NumPy 2 warns of; it is Keras' to change.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        if path.name.endswith(".weights.h5"):
            network.save_weights(path)
        else:
            network.save(path)


def _refuse_other_backend(backend: str) -> None:
    if backend != BACKEND:
        raise UsageError(f"KERAS_BACKEND is {backend!r} and models are made with {BACKEND!r}: unset it and start again")


@contextmanager
def _native_stderr_held() -> Iterator[None]:
    """Hold file descriptor 2 back: oneDNN's greeting ignores TF_CPP_MIN_LOG_LEVEL (seen with TensorFlow 2.21)."""
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(STDERR)
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, STDERR)
            os.close(terminal)
            held.seek(0)
            logger.debug("held back: %s", held.read().decode(errors="replace"))
