"""An engine of TensorRT or TensorRT-RTX on a device: `bsbatch.cuda.ring.Network`."""

import logging
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bsbatch.cuda.device import Device, Event, Stream
from bsbatch.cuda.engines import Engine
from bsbatch.errors import BackendError

logger = logging.getLogger(__name__)

_IMAGE = (1, 512, 512)


class TensorRtNetwork:
    """One execution context for each profile, in ascending order."""

    def __init__(self, contexts: list[Any], batches: tuple[int, ...], names: tuple[str, ...]) -> None:
        """Take what `loaded` made; ``names`` are those of the engine's input and of its outputs."""
        self._contexts, self._batches, self._names = contexts, batches, names

    @property
    def largest(self) -> int:
        """Images that it takes at once."""
        return self._batches[-1]

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        """See `bsbatch.cuda.ring.Network`.

        Raises
        ------
        MemoryError
            There was no memory for a context of such a profile.
        BackendError
            The library refuses.
        """
        if batch > self.largest:
            raise MemoryError(f"no context for a batch of {batch}")
        context = self._contexts[bisect_left(self._batches, batch)]
        is_started = (
            context.set_input_shape(self._names[0], (batch, *_IMAGE))
            and all(context.set_tensor_address(*pair) for pair in zip(self._names, (image, *outputs), strict=True))
            and context.set_input_consumed_event(consumed.handle)
            and context.execute_async_v3(stream.handle)
        )
        if not is_started:
            raise BackendError(f"the engine refuses a batch of {batch}: compile it again (bsbatch-build compile)")

    def close(self) -> None:
        """Give the contexts back, in the thread that made them."""
        self._contexts.clear()


@contextmanager
def loaded(device: Device, library: Any, engine: Engine, image: str) -> Iterator[TensorRtNetwork]:
    """Load an engine on the device that this thread has entered, with as many profiles as its memory suffices for.

    Parameters
    ----------
    device, library
        The device, and the library as a module.
    engine
        See `bsbatch.cuda.engines.find_engine`.
    image
        The name of the graph's input.

    Raises
    ------
    BackendError
        The library refuses it, or there is no memory for its smallest profile.
    """
    words = library.Logger(library.Logger.ERROR)
    runtime = library.Runtime(words)
    plan = runtime.deserialize_cuda_engine(engine.path.read_bytes())
    if plan is None:
        raise BackendError(f"{engine.path} cannot be loaded here: compile it on this machine (bsbatch-build compile)")
    strategy = library.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
    contexts = _contexts(plan, strategy, len(engine.key.batches), device)
    if not contexts:
        raise BackendError(
            f"there is no memory on the GPU to run {engine.path}: end other programs on it (nvidia-smi names them)"
        )
    network = TensorRtNetwork(contexts, engine.key.batches[: len(contexts)], (image, *engine.key.outputs))
    try:
        yield network
    finally:
        network.close()


def _contexts(plan: Any, strategy: Any, profiles: int, device: Device) -> list[Any]:
    """A context for each profile until the memory ends, the smallest batches first.

    By ``strategy`` each takes what its own profile needs; the usual one takes what the largest needs, every time.
    """
    contexts: list[Any] = []
    stream, done = device.stream(), device.event()
    for profile in range(profiles):
        needed, free = plan.get_device_memory_size_for_profile_v2(profile), device.free_memory()
        context = plan.create_execution_context(strategy) if needed <= free else None
        if context is None or not context.set_optimization_profile_async(profile, stream.handle):
            logger.debug("no memory for profile %d of %d: %d bytes of %d", profile + 1, profiles, needed, free)
            break
        contexts.append(context)
    stream.record(done)
    done.wait()
    done.free()
    stream.free()
    return contexts
