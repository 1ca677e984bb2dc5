"""TensorRT or TensorRT-RTX on NVIDIA GPUs, in float16, with the engines of ``bsbatch-build compile``."""

import json
import logging
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import Effort
from bsbatch.cuda.device import Device
from bsbatch.cuda.driver import CudaDevice
from bsbatch.cuda.engines import Engine, EngineTarget, find_engine
from bsbatch.cuda.gpu import Gpu, gpus
from bsbatch.cuda.library import LIBRARIES, Library
from bsbatch.cuda.network import load_network
from bsbatch.cuda.ring import COMPUTE, PARTS, Network, NetworkShape, shapes_of
from bsbatch.cuda.worker import GpuWorker, WorkerSettings, concatenate
from bsbatch.errors import MissingPackageError, ModelError
from bsbatch.host.device_thread import DeviceThread, distribute, put_to_least
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import FreeList, Pending, ordered_map
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Model, require_model
from bsbatch.protocols import LENT_IMAGES, Images
from bsbatch.records import Inference, PinnedImage

logger = logging.getLogger(__name__)

_SLOTS = 3
_IN_FLIGHT = _SLOTS + 1
"""Batches for each GPU: one more than slots, so that the GPU never waits for the host."""
_DEFAULT_SLOT = 64
_WARM_SECONDS, _SWEEP_SECONDS = 0.5, 1.0
"""A sweep computes for so long with each batch size: while kernels load and clocks rise, and then measured."""
_NARROW_SLOT, _WIDE_SLOT = 63, 64
"""The first convolution of 64 images has 2^31 bytes; where an engine computes them, one image less is tried, too."""
_AS_FAST = 0.98
"""Share of the best rate that suffices: the smallest batch that reaches it has the lowest latency."""
_MOST_COUNTS = 2**16 - 1
_CHUNK = 4
"""Images that a thread converts at once."""
_WINDOW = 4
"""Chunks for each thread that `ordered_map` runs ahead at most."""

GpuThread = DeviceThread[Sequence[PinnedImage], Inference]


class TensorRtBackend:
    """All GPUs of the machine, each owned by one thread."""

    precision = "fp16"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded and no GPU is looked for before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no heat map and ``with_cams`` asks for one.
        """
        self._model = require_model(model, "--backend tensorrt")
        self._outputs = self._model.manifest.outputs(with_cams=with_cams)
        self._shape = NetworkShape(outputs=shapes_of(self._outputs))
        self._cpu_threads = effort.threads or usable_cpus()
        self._requested_batch = effort.batch_size
        self._slot = self._requested_batch or _DEFAULT_SLOT
        self.batch_size = effort.batch_size or _IN_FLIGHT * _DEFAULT_SLOT
        self.lanes = 1
        self.queued_size, self.queued = self._slot, _IN_FLIGHT
        self.image_pool: FreeList[PinnedImage]
        """Pinned images for the threads that fill them and pass them to `infer`, which gives them back."""
        self._pinned = 0
        """Images of all GPUs' threads."""
        self._workers: list[GpuWorker] = []
        self._gpu_threads: list[GpuThread] = []

    def __enter__(self) -> Self:
        devices = gpus()
        engines = [_find_engine_for(self._model, gpu, tuple(self._outputs.values())) for gpu in devices]
        largest = min(engine.key.batches[-1] for _, engine in engines)
        self._slot = min(self._requested_batch or largest, largest)
        self.image_pool = FreeList(attrgetter("address"))
        with ExitStack() as stack:
            stack.callback(self.image_pool.close)
            threads = [self._gpu_thread(index, *engine) for index, engine in enumerate(engines)]
            self._gpu_threads = [stack.enter_context(thread) for thread in threads]
            if self._requested_batch is None:
                self._slot = self._fastest_slot(engines[0][1], [gpu.label for gpu in devices])
                self.batch_size = _IN_FLIGHT * self._slot
            self.queued_size, self.queued = self._slot, _IN_FLIGHT * len(engines)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def infer(self, images: Images | Sequence[PinnedImage]) -> Inference:
        """Score ``(N, 1, 512, 512)`` images, or filled images of `image_pool`.

        Raises
        ------
        BackendError
            A GPU failed.
        """
        with closing(self._pin_all(images)) as pinned:
            batches = iter(lambda: list(islice(pinned, self._slot)), [])
            try:
                pieces = list(distribute(self._gpu_threads, batches, _IN_FLIGHT))
            except BaseException:
                self.image_pool.close()  # no image comes back any more for the threads that wait for one
                raise
        return concatenate(pieces, self._shape)

    def submit(self, images: Images | Sequence[PinnedImage]) -> "Pending[Inference]":
        """Queue at most `queued_size` images, see `infer`, for the GPU with the least to do."""
        result = put_to_least(self._gpu_threads, list(self._pin_all(images)))
        result.add_done_callback(self._close_pool_after_failure)
        return result

    @property
    def devices(self) -> int:
        """Number of GPUs in use, after enter."""
        return len(self._gpu_threads)

    def device_seconds(self) -> dict[str, float]:
        """Return the time all GPUs have spent copying in (H2D), computing and copying out (D2H); these overlap."""
        seconds_of_workers = [worker.seconds for worker in self._workers]
        return {part: sum(seconds[part] for seconds in seconds_of_workers) for part in PARTS}

    def _close_pool_after_failure(self, result: "Pending[Inference]") -> None:
        if result.exception() is not None:
            self.image_pool.close()  # no image comes back any more for the threads that wait for one

    def _pin_all(self, images: Images | Sequence[PinnedImage]) -> Generator[PinnedImage, None, None]:
        if len(images) > 0 and isinstance(images[0], PinnedImage):
            yield from cast("Sequence[PinnedImage]", images)
        else:
            yield from ordered_map(self._pin, cast("Images", images), self._cpu_threads, _CHUNK)

    def _pin(self, image: NDArray[np.float32]) -> PinnedImage:
        """Round an image to float16 in pinned memory; a span of 0 marks it as scaled."""
        pinned = self.image_pool.take()
        pinned.counts[:] = image[0].astype(np.float16).view(np.uint16)
        pinned.scales[:] = 0
        return pinned

    def _fastest_slot(self, engine: Engine, labels: list[str]) -> int:
        """Return the fastest batch size of a slot for these GPUs, measured once and kept beside the engine."""

        def sweep(_: Path, aside: Path) -> None:
            self._fill_pool()
            narrow = [_NARROW_SLOT] if _WIDE_SLOT in engine.key.batches else []
            sizes = sorted(size for size in (*engine.key.batches, *narrow) if size <= most)
            rates = {size: self._measure_rate(size) for size in sizes}
            best = min(size for size, rate in rates.items() if rate >= _AS_FAST * max(rates.values()))
            aside.write_text(json.dumps({"batch": best, "scans_per_second": rates}), encoding="utf-8")

        most = self._slot
        name = f"{engine.key.name.removesuffix('.engine')}.batch.json"
        try:
            maker = f"{engine.key} | {', '.join(labels)} | computing"
            path = derive_file(self._model, Derivation(name, maker, sweep))
        except ModelError as error:  # there is no folder to keep it, which is no reason to end the run
            logger.debug("no sweep of batches: %s", error)
            return most
        return min(most, int(json.loads(path.read_text(encoding="utf-8"))["batch"]))

    def _fill_pool(self) -> None:
        """Fill all pinned images with noise, as blank ones may be computed faster."""
        random = np.random.default_rng(0)
        for image in [self.image_pool.take() for _ in range(self._pinned)]:
            image.counts[:] = random.integers(0, _MOST_COUNTS, image.counts.shape, np.uint16, endpoint=True)
            image.scales[:] = 0, _MOST_COUNTS
            self.image_pool.give_back(image)

    def _measure_rate(self, size: int) -> float:
        """Measure scans in a second of computing with one batch size, by the clocks of the GPUs: no copy, no host."""
        self._compute(size, _WARM_SECONDS)
        before = self.device_seconds()[COMPUTE]
        number = self._compute(size, _SWEEP_SECONDS)
        return number / (self.device_seconds()[COMPUTE] - before)

    def _compute(self, size: int, seconds: float) -> int:
        """Keep all GPUs at work for a time with the images of the pool; return the number of images."""
        number, pending, end = 0, deque[Pending[Inference]](), time.perf_counter() + seconds
        while number == 0 or time.perf_counter() < end:
            if len(pending) == _IN_FLIGHT * self.devices:
                pending.popleft().result()
            pending.append(self.submit([self.image_pool.take() for _ in range(size)]))
            number += size
        for result in pending:
            result.result()
        return number

    def _gpu_thread(self, index: int, library: ModuleType, engine: Engine) -> GpuThread:
        # for arrays: batches in flight, the next batch, and images that the threads have converted ahead of it
        for_arrays = (_IN_FLIGHT + 1) * self._slot + (_WINDOW + 1) * _CHUNK * self._cpu_threads
        # for intake threads, so that none waits: batches queued, finished last and being assembled; the threads' own
        for_intake = (_IN_FLIGHT + 2) * self._slot + LENT_IMAGES * 3 // 2 * self._cpu_threads
        settings = WorkerSettings(self._slot, _SLOTS, max(for_arrays, for_intake), self._shape)
        self._pinned += settings.pinned_images

        def load(device: Device) -> AbstractContextManager[Network]:
            return load_network(device, library, engine, self._model.manifest.input_name)

        worker = GpuWorker(CudaDevice(index), load, settings, self.image_pool.give_back)
        self._workers.append(worker)
        return DeviceThread(lambda: worker, f"gpu-{index}")


def _find_engine_for(model: Model, device: Gpu, outputs: tuple[str, ...]) -> tuple[ModuleType, Engine]:
    """Return the first installed library that has an engine for a GPU, and the engine.

    Raises
    ------
    MissingPackageError
        Neither library is installed.
    ModelError
        There is no engine, or none that may be loaded.
    """
    libraries = [library for library in LIBRARIES.values() if library.missing is None]
    if not libraries:
        lines = "; ".join(str(library.missing) for library in LIBRARIES.values())
        raise MissingPackageError(f"neither TensorRT nor TensorRT-RTX is installed: {lines}")
    refusals: list[ModelError] = []
    for library in libraries:
        try:
            return _load_with_engine(library, model, device, outputs)
        except ModelError as error:  # the other library may have one
            refusals.append(error)
    raise refusals[0]


def _load_with_engine(
    library: Library, model: Model, device: Gpu, outputs: tuple[str, ...]
) -> tuple[ModuleType, Engine]:
    module = library.load()
    target = EngineTarget(library.module, module.__version__, library.target_of(device), outputs)
    return module, find_engine(model, target)
