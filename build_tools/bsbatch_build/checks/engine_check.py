"""Compares an engine, on the GPU that it was compiled for, with the float32 graph on golden examinations.

The float16 graph is compared on a CPU, one node after the other. Kernels of a GPU differ from that: one that adds up in
float16 may overflow where no tensor does. Each profile has kernels of its own, so each is compared.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.config import Effort
from bsbatch.cuda.device import Device
from bsbatch.cuda.driver import CudaDevice
from bsbatch.cuda.engines import Engine
from bsbatch.cuda.gpu import gpu
from bsbatch.cuda.library import Library
from bsbatch.cuda.network import load_network
from bsbatch.cuda.ring import Network, NetworkShape, shapes_of
from bsbatch.cuda.worker import GpuWorker, WorkerSettings
from bsbatch.errors import ModelError, UsageError
from bsbatch.models.directory import Manifest, Model
from bsbatch.protocols import Images
from bsbatch.records import Inference, PinnedImage
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.checks.verify import BackendDifference, Reference, compare_outputs, infer_all, join

EXAMINATIONS = 16
_PRECISION = "fp16"


@dataclass(frozen=True, slots=True, eq=False)
class GoldenScores:
    """Golden examinations with their probabilities and distances in float32."""

    images: Images
    """``(N, 1, 512, 512)`` in [0, 1]."""
    reference: Reference


def score_golden_examinations(model: Model) -> GoldenScores:
    """Make golden examinations and score them with ONNX Runtime on the CPU, in float32."""
    golden = golden_examinations(EXAMINATIONS, 0)
    with OnnxRuntimeBackend(model, Effort()) as backend:
        found = infer_all(backend, golden.images, lambda _: None)
    threshold = model.manifest.threshold
    return GoldenScores(golden.images, Reference(found.probabilities, golden.labels, threshold, found.distances))


def runs_here(library: Library, target: str) -> bool:
    """Return True if this machine has pycuda and, as its first GPU, one that runs engines for a target."""
    try:
        return library.target_of(gpu()) == target
    except UsageError:  # no pycuda, no driver or no GPU
        return False


def check_engine(loaded: ModuleType, engine: Engine, manifest: Manifest, golden: GoldenScores) -> float:
    """Compare an engine with float32 on the first GPU, in batches that fill each profile.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    ModelError
        A probability differs by more than 5e-3, a distance by more than 1e-2 of itself, or a label flips away from the
        threshold.
    BackendError
        The engine cannot be loaded, or the GPU failed.
    """
    differences = []
    for batch, actual in _score_by_batch(loaded, engine, manifest, golden.images):
        indices = np.arange(len(actual.probabilities)) % len(golden.reference.labels)
        compared = compare_outputs(golden.reference.take(indices), engine.key.name, _PRECISION, actual)
        _refuse_difference(compared, batch)
        differences.append(compared.difference)
    return max(differences)


def _refuse_difference(compared: BackendDifference, batch: int) -> None:
    if not compared.is_within_tolerance:
        raise ModelError(
            f"on this GPU, in batches of {batch}, the engine {compared.backend} {compared.in_words}: compile it "
            "with another --batch or version of the library, or run this model with --backend mnn or onnxruntime"
        )


def _score_by_batch(
    loaded: ModuleType, engine: Engine, manifest: Manifest, images: Images
) -> Iterator[tuple[int, Inference]]:
    """Score the images, over again until they fill a batch, in batches of the largest size of each profile."""
    sizes, pinned = engine.key.batches, list[PinnedImage]()
    number = max(len(images), sizes[-1])
    fields = [field for field, name in manifest.all_outputs.items() if name in engine.key.outputs]
    shape = NetworkShape(outputs=shapes_of(fields))

    def load(device: Device) -> AbstractContextManager[Network]:
        return load_network(device, loaded, engine, manifest.input_name)

    settings = WorkerSettings(sizes[-1], slots=1, pinned_images=number, shape=shape)
    with GpuWorker(CudaDevice(0), load, settings, pinned.append) as worker:
        places = pinned[:number]
        for index, place in enumerate(places):
            place.counts[:] = images[index % len(images)][0].astype(np.float16).view(np.uint16)
            place.scales[:] = 0  # marks an image that is scaled already
        for size in sizes:
            needed = places[: max(len(images), size)]
            yield size, join(list(_score(worker, needed, size)))


def _score(worker: GpuWorker, images: list[PinnedImage], size: int) -> Iterator[Inference]:
    for start in range(0, len(images), size):
        worker.begin(images[start : start + size])
        yield worker.finish()
