"""Grad-CAM from the Keras model with TensorFlow's gradient tape, for heads whose gradient has no closed form.

The reference for the heat maps of the fused graph, and the only way for models with another head. It runs the whole
network a second time, so it computes maps only for the examinations that need one.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.config import Effort
from bsbatch.errors import BackendError, MissingPackageError, ModelError
from bsbatch.geometry import CAM_SHAPE, IMAGE_SHAPE
from bsbatch.models.directory import Model, require_model
from bsbatch.protocols import Backend, Images
from bsbatch.records import Inference

_TENSORFLOW = "tensorflow"
_AT_ONCE = 4
"""Images in one call of Keras: a VGG16 at 512 x 512 holds 300 MB for each."""
_GRID = 4
"""Number of axes of a convolution's output: images, rows, columns, channels."""

Pixels = NDArray[np.float32]


class KerasCams:
    """A backend that takes its probabilities from another backend and its heat maps from the Keras model."""

    def __init__(self, scoring: Backend, model: Model | None, effort: Effort, wants: Callable[[float], bool]) -> None:
        """Prepare; TensorFlow loads on enter.

        Parameters
        ----------
        scoring
            Backend for the probabilities, made without heat maps.
        model
            A model directory with ``model.keras``.
        effort
            Threads of TensorFlow.
        wants
            True if an examination with this ``p_metastasis`` needs a heat map.

        Raises
        ------
        ModelError
            There is no model, or no Keras model in its directory.
        """
        path = require_model(model, "--cam-engine keras").keras
        self.precision, self.batch_size, self.lanes = scoring.precision, scoring.batch_size, scoring.lanes
        self._scoring, self._path, self._wants, self._threads = scoring, path, wants, effort.threads
        self._tape: KerasTape | None = None

    def __enter__(self) -> Self:
        self._scoring.__enter__()
        try:
            self._tape = KerasTape(_load_network(self._path, self._threads))
        except BaseException as error:
            self._scoring.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tape = None
        self._scoring.__exit__(kind, error, trace)

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images; a heat map that is not needed is all 0.

        Raises
        ------
        BackendError
            The scoring backend or TensorFlow failed.
        """
        if self._tape is None:
            raise BackendError("the backend is not entered: use it in a with statement")
        batch = np.asarray(images)
        scored = self._scoring.infer(batch)
        cams = np.zeros((len(images), *CAM_SHAPE), np.float32)
        wanted = [
            index for index, p_metastasis in enumerate(scored.probabilities[:, 1]) if self._wants(float(p_metastasis))
        ]
        for first in range(0, len(wanted), _AT_ONCE):
            indices = wanted[first : first + _AT_ONCE]
            cams[indices] = self._tape.maps(batch[indices])
        return replace(scored, cams=cams)


class KerasTape:
    """A Keras model cut after its last convolution, so that only its head is differentiated."""

    def __init__(self, network: Any) -> None:
        """Cut the model.

        Parameters
        ----------
        network
            ``keras.Model``, functional: ``(N, 512, 512, 1 or 3) float32 in [0, 1]`` to ``(N, 2)``, each row adding up
            to 1, column 1 metastasis.

        Raises
        ------
        ModelError
            The model has other shapes, no convolution, or a path to its output around the last convolution.
        """
        keras, self._tensorflow = import_module("keras"), import_module(_TENSORFLOW)
        self._channels = channels_of(network)
        features = _last_features_of(network)
        try:
            self.trunk = keras.Model(network.input, features)
            self.head = keras.Model(features, network.output)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"the Keras model cannot be cut behind its last convolution ({type(error).__name__}): "
                "make it of one chain of layers from there on"
            ) from error

    def maps(self, images: Pixels) -> Pixels:
        """Compute signed Grad-CAM (Selvaraju et al., ICCV 2017) of ``p_metastasis`` for ``(N, 1, 512, 512)`` images.

        Sum over the channels of the last convolution's activation, each weighted by the probability's gradient averaged
        over positions. The two probabilities add up to 1, so the map for the other class is the negative. The map is 0
        if a probability is so close to 0 or 1 that its gradient vanishes in float32.

        Returns
        -------
        ``(N, 32, 32)``; maps of another grid are resized bilinearly.

        Raises
        ------
        BackendError
            TensorFlow failed.
        """
        with self._translate_errors(len(images)):
            channels_last = np.repeat(images.transpose(0, 2, 3, 1), self._channels, axis=3)
            return self.maps_of(self.trunk(channels_last, training=False))

    def maps_of(self, activation: object) -> Pixels:
        """Compute the same from the last convolution's activation, ``(N, rows, columns, channels)``."""
        tensorflow = self._tensorflow
        features = tensorflow.convert_to_tensor(activation)
        with self._translate_errors(len(features)):
            with tensorflow.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(features)
                p_metastasis = self.head(features, training=False)[:, 1]
            gradient = tape.gradient(p_metastasis, features)
        weights = np.asarray(gradient).mean(axis=(1, 2))
        return _resize(np.einsum("nrck,nk->nrc", np.asarray(features), weights))

    @contextmanager
    def _translate_errors(self, images: int) -> Iterator[None]:
        try:
            yield
        except self._tensorflow.errors.OpError as error:
            raise BackendError(
                f"TensorFlow failed on a batch of {images} ({type(error).__name__}): free memory or try --threads 1; "
                "the same command goes on where this run stopped"
            ) from error


def _load_network(path: Path, threads: int | None) -> Any:
    """Load the model; `bsbatch.models.directory.Model.load` has checked its SHA-256."""
    keras = _import_keras(threads)
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras lets the errors of h5py, zipfile, json and the layers through
        raise ModelError(
            f"Keras cannot load {path} ({type(error).__name__}): export it again with this version of Keras, "
            "and without Lambda layers or layers of its own"
        ) from error


def _import_keras(threads: int | None) -> ModuleType:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.environ.setdefault("KERAS_BACKEND", _TENSORFLOW) != _TENSORFLOW:
        raise ModelError("KERAS_BACKEND is not tensorflow, whose gradient tape --cam-engine keras needs: unset it")
    try:
        tensorflow, keras = import_module(_TENSORFLOW), import_module("keras")
    except ModuleNotFoundError as error:
        raise MissingPackageError(f'{error.name} is not installed: pip install "bsbatch[keras]"') from error
    if threads is not None:
        with suppress(RuntimeError):  # TensorFlow is initialised in this process already and keeps its threads
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    return keras


def channels_of(network: object) -> int:
    """Return the number of input channels, 1 or 3, of a Keras model.

    Raises
    ------
    ModelError
        The model does not map ``(N, 512, 512, 1 or 3)`` to ``(N, 2)``.
    """
    shapes = getattr(network, "input_shape", None), getattr(network, "output_shape", None)
    for channels in (1, 3):
        if shapes == ((None, *IMAGE_SHAPE, channels), (None, 2)):
            return channels
    raise ModelError(
        f"the Keras model turns {shapes[0]} into {shapes[1]}: it must be functional and turn (None, 512, 512, 1 or 3) "
        "into (None, 2)"
    )


def _last_features_of(network: Any) -> object:
    """Return the last convolution's output, after any normalisation, activation and sums behind it on the same grid."""
    grids = [layer for layer in network.layers if len(getattr(layer.output, "shape", ())) == _GRID][1:]
    convolutions = [layer for layer in grids if "Conv" in type(layer).__name__] or grids
    if not convolutions:
        raise ModelError("the Keras model has no convolution: run with --cam none")
    rows_and_columns = convolutions[-1].output.shape[1:3]
    return [layer for layer in grids if layer.output.shape[1:3] == rows_and_columns][-1].output


def _resize(cams: Pixels) -> Pixels:
    if cams.shape[1:] == CAM_SHAPE:
        return np.asarray(cams, np.float32)
    return np.stack([cv2.resize(cam, CAM_SHAPE[::-1], interpolation=cv2.INTER_LINEAR) for cam in cams])
