"""Late imports of Keras, TensorFlow and the other packages that make models, and types for their objects."""

import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import MissingPackageError, UsageError

logger = logging.getLogger(__name__)

BACKEND = "tensorflow"
STDERR = 2

Array = NDArray[np.float32]


class Tensor(Protocol):
    """A float32 tensor or variable of TensorFlow or Keras."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Size of each axis; None for the batch axis of a symbolic tensor."""
        ...

    def __array__(self) -> Array:
        """Copy it into a NumPy array; `numpy.asarray` calls this."""
        ...

    def __getitem__(self, index: object, /) -> Self:
        """Slice it as NumPy does."""
        ...

    def __sub__(self, other: Self, /) -> Self:
        """Subtract element by element."""
        ...


class Variable(Tensor, Protocol):
    """A weight of a layer."""

    path: str
    """Names of its layer and of itself."""


class KerasLayer(Protocol):
    """Members of ``keras.Layer`` that the build tools use."""

    name: str
    weights: Sequence[Variable]
    output: Tensor
    kernel: Variable
    """Only of convolutions and dense layers."""
    epsilon: float
    """Only of batch normalisation."""

    def get_weights(self) -> list[Array]:
        """Copy the weights into NumPy arrays."""
        ...

    def set_weights(self, weights: Sequence[Array], /) -> None:
        """Replace the weights by arrays of the same shapes."""
        ...


class Optimizer(Protocol):
    """Members of ``keras.Optimizer`` that the build tools use."""

    use_ema: bool

    def build(self, variables: Sequence[Variable], /) -> None:
        """Create the variables of the optimiser."""
        ...

    def finalize_variable_values(self, variables: Sequence[Variable], /) -> None:
        """Overwrite weights by their moving averages."""
        ...


class KerasModel(Protocol):
    """Members of ``keras.Model`` that the build tools use."""

    layers: Sequence[KerasLayer]
    weights: Sequence[Variable]
    input: Tensor
    output: Tensor
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]

    def __call__(self, images: Tensor | Array, /, *, training: bool = False) -> Tensor:
        """Compute the output of a batch."""
        ...

    def get_layer(self, name: str, /) -> KerasLayer:
        """Return a layer by its name, or raise ValueError."""
        ...

    def get_weights(self) -> list[Array]:
        """Copy the weights of all layers into NumPy arrays."""
        ...

    def set_weights(self, weights: Sequence[Array], /) -> None:
        """Replace the weights of all layers by arrays of the same shapes."""
        ...

    def count_params(self) -> int:
        """Count the numbers in all weights."""
        ...

    def load_weights(self, path: Path, /) -> None:
        """Read a weights file, with the variables of the optimiser if it holds them."""
        ...

    def save_weights(self, path: Path, /) -> None:
        """Write weights, and the variables of the optimiser if there is one."""
        ...

    def save(self, path: Path, /) -> None:
        """Write the whole model."""
        ...


class TrainableModel(KerasModel, Protocol):
    """Members of a ``keras.Model`` with named outputs that a training uses."""

    optimizer: Optimizer
    trainable_variables: Sequence[Variable]

    def compile(
        self, optimizer: Optimizer, loss: Mapping[str, object], /, *, loss_weights: Mapping[str, float]
    ) -> None:
        """Set the optimiser, and for each output a loss and its weight."""
        ...

    def train_on_batch(
        self, images: Array, targets: Mapping[str, Array], weights: Mapping[str, Array], /, *, return_dict: bool
    ) -> Mapping[str, float]:
        """Take one step; return the losses of the batch."""
        ...

    def predict_on_batch(self, images: Array, /) -> Mapping[str, Array]:
        """Compute all outputs of a batch."""
        ...


def package(name: str) -> ModuleType:
    """Import a package of the extra ``build``.

    Raises
    ------
    MissingPackageError
        The package, or one that it needs, is not installed; the message is the install line.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f'{error.name or name} is not installed: pip install "bsbatch[build]"') from error


def tensorflow() -> ModuleType:
    """Import TensorFlow, and send to the log what its C++ side writes to the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _log_native_stderr():
        loaded = package("tensorflow")
        loaded.zeros(())  # the first operation writes a greeting, too
        return loaded


def keras() -> ModuleType:
    """Import Keras on TensorFlow.

    Raises
    ------
    UsageError
        ``KERAS_BACKEND``, or a Keras that is loaded already, names another backend; only TensorFlow exports to ONNX.
    """
    _refuse_other_backend(os.environ.setdefault("KERAS_BACKEND", BACKEND))
    tensorflow()
    loaded = package("keras")
    _refuse_other_backend(loaded.config.backend())
    return loaded


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and fix the order of additions in TensorFlow."""
    keras().utils.set_random_seed(seed)


def load_model(path: Path) -> KerasModel:
    """Load a ``.keras`` or ``.h5`` model without its optimiser and losses.

    Raises
    ------
    Exception
        Keras passes on any error of h5py, zipfile, json and the layers.
    """
    model: KerasModel = keras().models.load_model(path, compile=False)
    return model


def save(network: KerasModel, path: Path) -> None:
    """Save a Keras model as ``.keras``, or only its weights and its optimiser's as ``.weights.h5``."""
    with warnings.catch_warnings():
        # Keras 3.15 calls np.array(variable), of which NumPy 2 warns; only Keras can change that.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        if path.name.endswith(".weights.h5"):
            network.save_weights(path)
        else:
            network.save(path)


def _refuse_other_backend(backend: str) -> None:
    if backend != BACKEND:
        raise UsageError(f"KERAS_BACKEND is {backend!r} and models are made with {BACKEND!r}: unset it and start again")


@contextmanager
def _log_native_stderr() -> Iterator[None]:
    """Redirect file descriptor 2 to the log: oneDNN's greeting ignores TF_CPP_MIN_LOG_LEVEL (TensorFlow 2.21)."""
    with tempfile.TemporaryFile() as redirected:
        terminal = os.dup(STDERR)
        os.dup2(redirected.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, STDERR)
            os.close(terminal)
            redirected.seek(0)
            logger.debug("held back: %s", redirected.read().decode(errors="replace"))
