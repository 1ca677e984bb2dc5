"""One GPU at work: what a `bsbatch.host.device_thread.DeviceThread` owns."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from bsbatch.cuda.device import Device, DeviceError
from bsbatch.cuda.ring import MODEL, Layout, Network, Place, Ring, Ticket
from bsbatch.errors import BackendError
from bsbatch.records import Inference

Load = Callable[[Device], AbstractContextManager[Network]]
"""Loads the network on a device; used in the thread that entered it."""
GiveBack = Callable[[Place], None]
_GO_ON = "the same command goes on where this run stopped"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a GPU is used."""

    batch: int
    """Examinations in a slot at first; halved while the memory of the device does not suffice."""
    slots: int = 3
    """One that is copied in, one that is computed, one that is copied out."""
    places: int = 0
    """Examinations for which this GPU's thread pins memory."""
    layout: Layout = MODEL


class GpuWorker:
    """Scores batches of any size, in order; every CUDA object is made, used and freed by the thread that enters."""

    def __init__(self, device: Device, load: Load, settings: WorkerSettings, give_back: GiveBack) -> None:
        """Take nothing yet.

        Parameters
        ----------
        device, load
            What computes, and what with.
        settings
            How.
        give_back
            Told of every place that is free: those that are pinned here, and those whose image is on the device.
        """
        self.depth = settings.slots
        self._device, self._load, self._settings, self._give_back = device, load, settings, give_back
        self._begun: deque[list[Ticket]] = deque()
        self._network: Network
        self._ring: Ring
        self._spent: Counter[str] = Counter()

    @property
    def seconds(self) -> "Counter[str]":
        """What the device spent on batches that are finished, by part; see `bsbatch.cuda.ring.Ring`."""
        return self._spent + self._ring.seconds

    @property
    def batch(self) -> int:
        """Examinations in a slot."""
        return self._ring.batch

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._device)
            self._network = stack.enter_context(self._load(self._device))
            self._pin(stack)
            self._ring = self._fitting(self._settings.batch)
            stack.callback(self._free_ring)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def begin(self, places: Sequence[Place]) -> None:
        """Start a batch, in as many pieces as the slots are small.

        Raises
        ------
        BackendError
            The memory of the device does not suffice for a single examination, or the device failed.
        """
        with _told_as_ours():
            self._begin(places)

    def finish(self) -> Inference:
        """What came of the oldest batch.

        Raises
        ------
        BackendError
            The device failed.
        """
        with _told_as_ours():
            return self._finish()

    def _begin(self, places: Sequence[Place]) -> None:
        tickets: list[Ticket] = []
        self._begun.append(tickets)
        left = list(places)
        while left:
            piece = left[: self._ring.batch]
            try:
                tickets.append(self._ring.submit(piece))
            except MemoryError:
                self._halve()
                continue
            left = left[len(piece) :]
            self._release(self._ring.uploaded())

    def _finish(self) -> Inference:
        tickets = self._begun.popleft()
        pieces = [self._ring.wait(ticket) for ticket in tickets]
        for ticket in tickets:
            self._release(ticket.waiting)
        self._release(self._ring.uploaded())
        return joined(pieces, self._settings.layout)

    def _pin(self, stack: ExitStack) -> None:
        layout, number = self._settings.layout, self._settings.places
        if number == 0:
            return
        try:
            counts = self._device.pin((number, layout.rows, layout.columns), np.uint16)
            stack.callback(counts.free)
            scales = self._device.pin((number, 2, 2), np.float32)
            stack.callback(scales.free)
        except MemoryError as error:
            raise BackendError(
                f"{number} examinations cannot be pinned in memory ({error}): make memory free; {_GO_ON}"
            ) from error
        for place in zip(counts.array, scales.array, strict=True):
            self._give_back(Place(*place))

    def _free_ring(self) -> None:
        """Whichever it is by then."""
        self._ring.free()

    def _halve(self) -> None:
        """Go on with slots of half the size; what flies lands first."""
        batch = self._ring.batch // 2
        self._ring.free()
        self._spent += self._ring.seconds
        self._ring = self._fitting(batch)

    def _fitting(self, batch: int) -> Ring:
        """A ring of the largest batch, halved as often as need be, that the memory suffices for."""
        while batch > 0:
            try:
                return Ring(self._device, self._network, self._settings.layout, (self._settings.slots, batch))
            except MemoryError:
                batch //= 2
        free = self._device.free_memory() // 2**20
        raise BackendError(
            f"the GPU's memory does not suffice for one examination, {free} MiB are free: end other programs on it, "
            f"nvidia-smi names them; {_GO_ON}"
        )

    def _release(self, places: list[Place]) -> None:
        while places:
            self._give_back(places.pop())


def joined(pieces: Sequence[Inference], layout: Layout) -> Inference:
    """Put what came of batches together, also where there was none."""
    nothing = Inference(*(np.empty((0, *shape), np.float32) for shape in layout.outputs))
    everything = [nothing, *pieces]
    cams = [piece.cams for piece in everything if piece.cams is not None]
    probabilities = np.concatenate([piece.probabilities for piece in everything])
    return Inference(probabilities, np.concatenate(cams) if cams else None)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except DeviceError as error:
        raise BackendError(f"the GPU failed ({error}): look at nvidia-smi; {_GO_ON}") from error
