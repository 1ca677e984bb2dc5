"""TensorRT or TensorRT-RTX on NVIDIA GPUs, in float16, with engines that ``bsbatch-build compile`` made."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import islice
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.concurrency import Conveyor, FreeList, conveyed, ordered_map, usable_cpus
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
from bsbatch.model import Model
from bsbatch.records import Inference

_SLOTS = 3
_IN_FLIGHT = _SLOTS + 1
"""Batches of each GPU: one more than slots, so that it never waits for the host."""
_DEFAULT_SLOT = 64
_CHUNK = 4
"""Images that a thread converts at once."""
_WINDOW = 4
"""Chunks for each thread that `ordered_map` is ahead at most."""

Belt = Conveyor[Sequence[PinnedPlace], Inference]


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
        if model is None:
            raise ModelError("the tensorrt backend needs a model: --model FOLDER")
        self._model = model
        self._outputs = model.manifest.outputs(with_cams=with_cams)
        self._layout = MODEL_WITH_CAMS if with_cams else MODEL
        self._threads = effort.threads or usable_cpus()
        self._slot = min(effort.batch_size or _DEFAULT_SLOT, _DEFAULT_SLOT)
        self.batch_size = effort.batch_size or _IN_FLIGHT * _DEFAULT_SLOT
        self.lanes = 1
        self._workers: list[GpuWorker] = []
        self._belts: list[Belt] = []

    def __enter__(self) -> Self:
        here = gpus()
        self._free: FreeList[PinnedPlace] = FreeList()
        with ExitStack() as stack:
            stack.callback(self._free.close)
            self._belts = [stack.enter_context(self._belt(index, gpu)) for index, gpu in enumerate(here)]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def infer(self, images: NDArray[np.float32]) -> Inference:
        """Score ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            A GPU failed.
        """
        with closing(ordered_map(self._placed, images, self._threads, _CHUNK)) as placed:
            batches = iter(lambda: list(islice(placed, self._slot)), [])
            try:
                pieces = list(conveyed(self._belts, batches, _IN_FLIGHT))
            except BaseException:
                self._free.close()  # nobody gives places back any more to the threads that wait for one
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

    def _placed(self, image: NDArray[np.float32]) -> PinnedPlace:
        """Round an image into pinned memory; a span of 0 says that it is scaled already."""
        place = self._free.take()
        place.counts[:] = image[0].astype(np.float16).view(np.uint16)
        place.scales[:] = 0
        return place

    def _belt(self, index: int, here: Gpu) -> Belt:
        library, engine = _engine_for(self._model, here, self._outputs)
        # what flies, the batch in the making, and what the threads have converted ahead of it
        places = (_IN_FLIGHT + 1) * self._slot + (_WINDOW + 1) * _CHUNK * self._threads
        settings = WorkerSettings(self._slot, _SLOTS, places, self._layout)

        def load(device: Device) -> AbstractContextManager[Network]:
            return network.loaded(device, library, engine, self._model.manifest.input_name)

        worker = GpuWorker(CudaDevice(index), load, settings, self._free.give_back)
        self._workers.append(worker)
        return Conveyor(lambda: worker, f"gpu-{index}")


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
