"""An engine of TensorRT or TensorRT-RTX on a device, as a `bsbatch.cuda.ring.Network`."""

import logging
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from bsbatch.cuda.device import Device, Event, Stream
from bsbatch.cuda.engines import Engine
from bsbatch.cuda.kernel_cache import ConfigurablePlan, open_settings
from bsbatch.cuda.library import LibraryLogger, logger_of
from bsbatch.errors import BackendError
from bsbatch.geometry import INPUT_SHAPE

logger = logging.getLogger(__name__)


class _Context(Protocol):
    """The methods of ``IExecutionContext`` that are used here; each returns False if TensorRT refuses."""

    def set_device_memory(self, memory: int, size: int) -> None: ...

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool: ...

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...

    def set_tensor_address(self, name: str, memory: int) -> bool: ...

    def set_input_consumed_event(self, event: int) -> bool: ...

    def execute_async_v3(self, stream_handle: int) -> bool: ...


class _Plan(ConfigurablePlan, Protocol):
    """The methods of ``ICudaEngine`` that are used here."""

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int: ...

    def create_execution_context(self, settings: object) -> _Context | None: ...


class TensorRtNetwork:
    """An engine with one execution context for each profile."""

    def __init__(
        self, contexts: list[_Context], batches: tuple[int, ...], names: tuple[str, ...], log: LibraryLogger
    ) -> None:
        """Store the parts; `load_network` makes them.

        Parameters
        ----------
        contexts
            One for each profile, the smallest batches first.
        batches
            Largest batch of each.
        names
            Names of the engine's input and outputs.
        log
            The library's logger, which has the reason if it refuses a batch.
        """
        self._contexts, self._batches, self._names, self._log = contexts, batches, names, log

    @property
    def largest(self) -> int:
        """Largest batch, in images."""
        return self._batches[-1]

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        """See `bsbatch.cuda.ring.Network`.

        Raises
        ------
        MemoryError
            There was no memory for the context of a profile this large.
        BackendError
            TensorRT refuses the batch or fails; the message has TensorRT's own.
        """
        if batch > self.largest:
            raise MemoryError(f"no context for a batch of {batch}")
        context = self._contexts[bisect_left(self._batches, batch)]
        is_accepted = (
            context.set_input_shape(self._names[0], (batch, *INPUT_SHAPE))
            and all(context.set_tensor_address(*pair) for pair in zip(self._names, (image, *outputs), strict=True))
            and context.set_input_consumed_event(consumed.handle)
        )
        if not is_accepted:
            raise BackendError(
                f"the engine refuses a batch of {batch} ({self._log.last}): compile it again (bsbatch-build compile)"
            )
        if not context.execute_async_v3(stream.handle):
            raise BackendError(
                f"TensorRT failed on a batch of {batch} ({self._log.last}): look at nvidia-smi, or give a smaller "
                "--batch-size; the same command goes on where this run stopped"
            )

    def close(self) -> None:
        """Free the contexts, in the thread that made them."""
        self._contexts.clear()


@contextmanager
def load_network(device: Device, library: ModuleType, engine: Engine, image: str) -> Iterator[TensorRtNetwork]:
    """Load an engine on the device that this thread has entered, with as many profiles as its memory allows.

    Parameters
    ----------
    device, library
        The device, and the imported library.
    engine
        See `bsbatch.cuda.engines.find_engine`.
    image
        Name of the graph's input.

    Raises
    ------
    BackendError
        The library refuses the engine, or there is no memory for its smallest profile.
    """
    log = logger_of(library)
    runtime = library.Runtime(log)
    plan = runtime.deserialize_cuda_engine(engine.path.read_bytes())
    if plan is None:
        raise BackendError(
            f"{engine.path} cannot be loaded here ({log.last}): compile it on this machine (bsbatch-build compile)"
        )
    sizes = [plan.get_device_memory_size_for_profile_v2(profile) for profile in range(len(engine.key.batches))]
    with open_settings(library, plan, engine.key) as settings, _allocate_workspace(device, sizes) as workspace:
        contexts = _create_contexts(plan, settings, workspace, device)
        if not contexts:
            raise BackendError(
                f"there is no memory on the GPU to run {engine.path}: end other programs on it (nvidia-smi names them)"
            )
        network = TensorRtNetwork(contexts, engine.key.batches[: len(contexts)], (image, *engine.key.outputs), log)
        try:
            yield network
        finally:
            network.close()


@dataclass(frozen=True, slots=True)
class _Workspace:
    """Memory on the device for the contexts of the first profiles, one of which computes at a time."""

    address: int = 0
    size: int = 0
    profiles: int = 0


@contextmanager
def _allocate_workspace(device: Device, sizes: Sequence[int]) -> Iterator[_Workspace]:
    """Allocate the workspace of as many profiles, the smallest batches first, as the memory allows; maybe of none.

    Parameters
    ----------
    sizes
        Bytes that each profile needs.
    """
    for profiles in range(len(sizes), 0, -1):
        size = max(1, *sizes[:profiles])
        try:
            memory = device.allocate(size)
        except MemoryError as error:
            logger.debug("no memory for profile %d of %d: %s", profiles, len(sizes), error)
            continue
        try:
            yield _Workspace(memory.address, size, profiles)
        finally:
            memory.free()
        return
    yield _Workspace()


def _create_contexts(plan: _Plan, settings: object, workspace: _Workspace, device: Device) -> list[_Context]:
    """Create a context for each profile of the workspace, until the library refuses one."""
    contexts: list[_Context] = []
    stream, done = device.stream(), device.event()
    for profile in range(workspace.profiles):
        context = plan.create_execution_context(settings)
        if context is None or not context.set_optimization_profile_async(profile, stream.handle):
            logger.debug("no context for profile %d of %d", profile + 1, workspace.profiles)
            break
        context.set_device_memory(workspace.address, workspace.size)
        contexts.append(context)
    stream.record(done)
    done.wait()
    done.free()
    stream.free()
    return contexts
