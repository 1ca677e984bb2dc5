"""TensorRT or TensorRT-RTX on NVIDIA GPUs, in float16, with engines that ``bsbatch-build compile`` made."""

import json
import logging
import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import Effort
from bsbatch.cuda import network
from bsbatch.cuda.device import Device
from bsbatch.cuda.driver import CudaDevice
from bsbatch.cuda.engines import Engine, Place, find_engine
from bsbatch.cuda.gpu import Gpu, gpus
from bsbatch.cuda.library import LIBRARIES, Library
from bsbatch.cuda.ring import MODEL, MODEL_WITH_CAMS, PARTS, Network
from bsbatch.cuda.ring import Place as PinnedPlace
from bsbatch.cuda.worker import GpuWorker, WorkerSettings, joined
from bsbatch.errors import MissingPackageError, ModelError
from bsbatch.host.device_thread import DeviceThread, distribute
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import FreeList, ordered_map
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Model, require_model
from bsbatch.protocols import Images
from bsbatch.records import Inference

logger = logging.getLogger(__name__)

_SLOTS = 3
_IN_FLIGHT = _SLOTS + 1
"""Batches of each GPU: one more than slots, so that it never waits for the host."""
_DEFAULT_SLOT = 64
_ROUNDS = 4
"""How often a sweep fills all slots with one size of batch."""
_AS_FAST = 0.98
"""Share of the best rate from which on the smallest batch is taken: it lands sooner."""
_CHUNK = 4
"""Images that a thread converts at once."""
_WINDOW = 4
"""Chunks for each thread that `ordered_map` is ahead at most."""
_TAKEN_IN = 16
"""Examinations that are in flight for each thread that takes some in; with the next piece, 24 have a place."""

_IMAGE = (MODEL.rows, MODEL.columns)

Belt = DeviceThread[Sequence[PinnedPlace], Inference]


class TensorRtBackend:
    """All GPUs of the machine, each with a thread of its own that alone touches it."""

    precision = "fp16"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded and no GPU is looked for before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no map and one is wanted.
        """
        self._model = require_model(model, "--backend tensorrt")
        self._outputs = self._model.manifest.outputs(with_cams=with_cams)
        self._layout = MODEL_WITH_CAMS if with_cams else MODEL
        self._threads = effort.threads or usable_cpus()
        self._asked = effort.batch_size
        self._slot = self._asked or _DEFAULT_SLOT
        self.batch_size = effort.batch_size or _IN_FLIGHT * _DEFAULT_SLOT
        self.lanes = 1
        self.places: FreeList[PinnedPlace]
        """Pinned memory for an image each, for who fills it and gives it to `infer`, which frees it."""
        self._workers: list[GpuWorker] = []
        self._belts: list[Belt] = []

    def __enter__(self) -> Self:
        here = gpus()
        loads = [_engine_for(self._model, gpu, self._outputs) for gpu in here]
        largest = min(engine.key.batches[-1] for _, engine in loads)
        self._slot = min(self._asked or largest, largest)
        self.places = FreeList()
        with ExitStack() as stack:
            stack.callback(self.places.close)
            self._belts = [stack.enter_context(self._belt(index, *load)) for index, load in enumerate(loads)]
            if self._asked is None:
                self._slot = self._swept(loads[0][1], [gpu.label for gpu in here])
                self.batch_size = _IN_FLIGHT * self._slot
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def infer(self, images: Images | Sequence[PinnedPlace]) -> Inference:
        """Score ``(N, 1, 512, 512)`` images, or `places` that were filled.

        Raises
        ------
        BackendError
            A GPU failed.
        """
        with closing(self._in_places(images)) as placed:
            batches = iter(lambda: list(islice(placed, self._slot)), [])
            try:
                pieces = list(distribute(self._belts, batches, _IN_FLIGHT))
            except BaseException:
                self.places.close()  # nobody gives places back any more to the threads that wait for one
                raise
        return joined(pieces, self._layout)

    @property
    def devices(self) -> int:
        """GPUs at work, after enter."""
        return len(self._belts)

    def device_seconds(self) -> dict[str, float]:
        """What all GPUs together spent so far on copying in (H2D), computing and copying out (D2H); they overlap."""
        spent = [worker.seconds for worker in self._workers]
        return {part: sum(seconds[part] for seconds in spent) for part in PARTS}

    def _in_places(self, images: Images | Sequence[PinnedPlace]) -> Generator[PinnedPlace, None, None]:
        if len(images) > 0 and isinstance(images[0], PinnedPlace):
            yield from cast("Sequence[PinnedPlace]", images)
        else:
            yield from ordered_map(self._placed, cast("Images", images), self._threads, _CHUNK)

    def _placed(self, image: NDArray[np.float32]) -> PinnedPlace:
        """Round an image into pinned memory; a span of 0 says that it is scaled already."""
        place = self.places.take()
        place.counts[:] = image[0].astype(np.float16).view(np.uint16)
        place.scales[:] = 0
        return place

    def _swept(self, engine: Engine, labels: list[str]) -> int:
        """The batch for a slot that these GPUs were fastest with, measured once and remembered beside the engine."""

        def sweep(_: Path, aside: Path) -> None:
            rates = {size: self._rate(size) for size in engine.key.batches if size <= most}
            best = min(size for size, rate in rates.items() if rate >= _AS_FAST * max(rates.values()))
            aside.write_text(json.dumps({"batch": best, "scans_per_second": rates}), encoding="utf-8")

        most = self._slot
        name = f"{engine.key.name.removesuffix('.engine')}.batch.json"
        try:
            path = derive_file(self._model, Derivation(name, f"{engine.key} | {', '.join(labels)}", sweep))
        except ModelError as error:  # nowhere to keep it: a run shall not end for that
            logger.debug("no sweep of batches: %s", error)
            return most
        return min(most, int(json.loads(path.read_text(encoding="utf-8"))["batch"]))

    def _rate(self, size: int) -> float:
        """Scans in a second with batches of a size, from pageable memory to probabilities as in a run."""
        self._slot = size
        image = np.zeros((1, 1, *_IMAGE), np.float32)
        images = np.broadcast_to(image, (_ROUNDS * _IN_FLIGHT * size, *image.shape[1:]))
        self.infer(images[: _IN_FLIGHT * size])  # kernels load, clocks rise
        started = time.perf_counter()
        self.infer(images)
        return len(images) / (time.perf_counter() - started)

    def _belt(self, index: int, library: Any, engine: Engine) -> Belt:
        # what flies, the batch in the making, and what the threads have converted ahead of it
        of_arrays = (_IN_FLIGHT + 1) * self._slot + (_WINDOW + 1) * _CHUNK * self._threads
        # so many that nobody who fills them waits: what is scored, the next batch, the one in the making, the threads'
        composed = 3 * (self._asked or _IN_FLIGHT * self._slot) + _TAKEN_IN * 3 // 2 * self._threads
        places = max(of_arrays, composed)
        settings = WorkerSettings(self._slot, _SLOTS, places, self._layout)

        def load(device: Device) -> AbstractContextManager[Network]:
            return network.loaded(device, library, engine, self._model.manifest.input_name)

        worker = GpuWorker(CudaDevice(index), load, settings, self.places.give_back)
        self._workers.append(worker)
        return DeviceThread(lambda: worker, f"gpu-{index}")


def _engine_for(model: Model, here: Gpu, outputs: tuple[str, ...]) -> tuple[Any, Engine]:
    """The first library that is installed and has an engine for this GPU.

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
            return _engine_of(library, model, here, outputs)
        except ModelError as error:  # the other library may have one
            refusals.append(error)
    raise refusals[0]


def _engine_of(library: Library, model: Model, here: Gpu, outputs: tuple[str, ...]) -> tuple[Any, Engine]:
    module = library.load()
    place = Place(library.module, module.__version__, library.target_of(here), outputs)
    return module, find_engine(model, place)
