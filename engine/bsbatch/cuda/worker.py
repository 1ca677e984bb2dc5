"""One GPU at work, owned by a `bsbatch.host.device_thread.DeviceThread`."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from types import TracebackType
from typing import Self

import numpy as np

from bsbatch.cuda.device import Device, DeviceError
from bsbatch.cuda.ring import MODEL_SHAPE, Network, NetworkShape, Ring, SubmittedBatch
from bsbatch.errors import BackendError
from bsbatch.records import Inference, PinnedImage

LoadNetwork = Callable[[Device], AbstractContextManager[Network]]
"""Loads the network on a device, in the thread that entered it."""
GiveBack = Callable[[PinnedImage], None]
_RESUME = "the same command goes on where this run stopped"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Sizes and shapes of a GPU's work."""

    batch: int
    """Examinations in a slot at first; halved until the device's memory suffices."""
    slots: int = 3
    """One for copying in, one for computing, one for copying out."""
    pinned_images: int = 0
    """Examinations for which this GPU's thread pins memory."""
    shape: NetworkShape = MODEL_SHAPE


class GpuWorker:
    """Scores batches of any size, in order; the thread that enters makes, uses and frees every CUDA resource."""

    def __init__(
        self, device: Device, load_network: LoadNetwork, settings: WorkerSettings, give_back: GiveBack
    ) -> None:
        """Store the arguments; nothing is allocated before enter.

        Parameters
        ----------
        device, load_network
            The device, and a function that loads the network on it.
        settings
            Sizes and shapes.
        give_back
            Called with every free `PinnedImage`: after pinning its memory, and whenever its image is on the device.
        """
        self.depth = settings.slots
        self._device, self._load_network, self._settings, self._give_back = device, load_network, settings, give_back
        self._begun: deque[list[SubmittedBatch]] = deque()
        self._network: Network
        self._ring: Ring
        self._earlier_seconds: Counter[str] = Counter()
        """Device time of rings that were replaced by smaller ones."""

    @property
    def seconds(self) -> "Counter[str]":
        """Device time of finished batches, by part; see `bsbatch.cuda.ring.Ring.seconds`."""
        return self._earlier_seconds + self._ring.seconds

    @property
    def batch(self) -> int:
        """Examinations in a slot."""
        return self._ring.batch

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._device)
            stack.push(_drop_locals)
            self._network = stack.enter_context(self._load_network(self._device))
            self._pin(stack)
            self._ring = self._largest_ring(self._settings.batch)
            stack.callback(self._free_ring)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self, images: Sequence[PinnedImage]) -> None:
        """Start a batch, in pieces if it is larger than a slot.

        Raises
        ------
        BackendError
            The device's memory does not suffice for a single examination, or the device failed.
        """
        with _translate_errors():
            self._begin(images)

    def finish(self) -> Inference:
        """Wait for the oldest batch and return its results.

        Raises
        ------
        BackendError
            The device failed.
        """
        with _translate_errors():
            return self._finish()

    def _begin(self, images: Sequence[PinnedImage]) -> None:
        batches: list[SubmittedBatch] = []
        self._begun.append(batches)
        remaining = list(images)
        while remaining:
            piece = remaining[: self._ring.batch]
            try:
                batches.append(self._ring.submit(piece))
            except MemoryError:
                self._halve_slots()
                continue
            remaining = remaining[len(piece) :]
            self._give_all_back(self._ring.poll_uploaded())

    def _finish(self) -> Inference:
        batches = self._begun.popleft()
        pieces = [self._ring.wait(batch) for batch in batches]
        for batch in batches:
            self._give_all_back(batch.uploading)
        self._give_all_back(self._ring.poll_uploaded())
        return concatenate(pieces, self._settings.shape)

    def _pin(self, stack: ExitStack) -> None:
        shape, number = self._settings.shape, self._settings.pinned_images
        if number == 0:
            return
        try:
            counts = self._device.pin((number, shape.rows, shape.columns), np.uint16)
            stack.callback(counts.free)
        except MemoryError as error:
            raise BackendError(
                f"{number} examinations cannot be pinned in memory ({error}): make memory free; {_RESUME}"
            ) from error
        scales = np.empty((number, 2, 2), np.float32)
        for index, image in enumerate(counts.array):
            self._give_back(PinnedImage(image, scales[index], image.ctypes.data, counts.array[index:]))

    def _free_ring(self) -> None:
        """Free the present ring, which may not be the first one."""
        self._ring.free()

    def _halve_slots(self) -> None:
        """Replace the ring by one with slots of half the size, after the batches in flight have finished."""
        batch = self._ring.batch // 2
        self._ring.free()
        self._earlier_seconds += self._ring.seconds
        self._ring = self._largest_ring(batch)

    def _largest_ring(self, batch: int) -> Ring:
        """Make a ring with slots of ``batch`` examinations, halved until the device's memory suffices."""
        while batch > 0:
            try:
                return Ring(self._device, self._network, self._settings.shape, self._settings.slots, batch)
            except MemoryError:
                batch //= 2
        free = self._device.free_memory() // 2**20
        raise BackendError(
            f"the GPU's memory does not suffice for one examination, {free} MiB are free: end other programs on it, "
            f"nvidia-smi names them; {_RESUME}"
        )

    def _give_all_back(self, images: list[PinnedImage]) -> None:
        while images:
            self._give_back(images.pop())


def concatenate(pieces: Sequence[Inference], shape: NetworkShape) -> Inference:
    """Concatenate the results of batches; there may be none."""
    nothing = Inference(**{name: np.empty((0, *output), np.float32) for name, output in shape.outputs.items()})
    everything = [nothing, *pieces]
    return Inference(**{name: np.concatenate([getattr(piece, name) for piece in everything]) for name in shape.outputs})


def _drop_locals(_: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
    """Drop the local variables in the tracebacks of an error and of the errors that led to it.

    The error goes to another thread. Contexts and kernels among the variables would live as long as it does, and would
    be freed there, without the device.
    """
    seen: set[int] = set()
    errors = [error]
    while errors:
        current = errors.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            clear_frames(current.__traceback__)
            errors += [current.__cause__, current.__context__]


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise a `DeviceError` of the block as a `BackendError` with advice."""
    try:
        yield
    except DeviceError as error:
        raise BackendError(f"the GPU failed ({error}): look at nvidia-smi; {_RESUME}") from error
