"""A ring of slots: while one batch is computed, the next is copied in and the one before copied out.

Each of the three has its stream. A slot keeps the results of a batch until they are asked for; the images lie in one of
two inputs, which the device fills anew as soon as the network has consumed them. All memory is taken once. Images wait
in places of pinned memory, each for one examination, that intake threads write into; a place is free again as soon as
its image is on the device.
"""

import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Device, DeviceError, Event, Memory, Pinned, Stream
from bsbatch.errors import BackendError
from bsbatch.records import Inference

logger = logging.getLogger(__name__)

CLASSES = 2
KERNEL = "normalise"
_THREADS = 256
_HALF, _FLOAT = 2, 4
_INPUTS = 2
"""One that the network reads, one that is filled."""
_Owned = TypeVar("_Owned", Memory, Pinned, Event, Stream)
PARTS = ("H2D", "compute", "D2H")
"""trtexec's words."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The image of an examination, and what the network makes of it."""

    rows: int = 512
    columns: int = 512
    cam: tuple[int, int] | None = None
    """Rows and columns of the map that comes back beside the probabilities; None where none does."""

    @property
    def pixels(self) -> int:
        """Of one examination."""
        return self.rows * self.columns

    @property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of what the network gives for an examination."""
        return ((CLASSES,), self.cam) if self.cam is not None else ((CLASSES,),)


MODEL = Layout()
"""What the paper's network takes."""
MODEL_WITH_CAMS = replace(MODEL, cam=(32, 32))
"""The network with its map as a second output."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Pinned memory for one examination, as `bsbatch.imaging.preprocess.compact` fills it."""

    counts: NDArray[np.uint16]
    """``(rows, columns)``."""
    scales: NDArray[np.float32]
    """``(2, 2)``."""


class Network(Protocol):
    """A model on a device."""

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        """Start the network behind what the stream has to do; a `Ring` has one batch computed at a time.

        Parameters
        ----------
        batch
            Images, at most what its ring was made for.
        image, outputs
            Addresses of ``(batch, 1, rows, columns) float16``, and of ``(batch, 2) float32`` and whatever else
            `Layout.outputs` names.
        stream
            Where it is started.
        consumed
            To be recorded where the image was read for the last time.

        Raises
        ------
        MemoryError
            The device has too little left for this batch.
        """
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """A batch that was submitted."""

    places: Sequence[Place]
    waiting: list[Place] = field(default_factory=list)
    """Those whose images are not on the device yet, as far as was looked."""
    inference: Inference | None = None
    """What came of it, once it is computed."""


class Ring:
    """Slots on one device, used by the thread that entered it."""

    def __init__(self, device: Device, network: Network, layout: Layout, shape: tuple[int, int]) -> None:
        """Take all memory that is ever needed.

        Parameters
        ----------
        device, network, layout
            What computes what.
        shape
            Slots, and examinations in each.

        Raises
        ------
        MemoryError
            It is not there; what was taken before is given back.
        """
        self.slots, self.batch = shape
        self.seconds: Counter[str] = Counter()
        """On the device, of the batches that landed: H2D (up), compute (with the making of the images), D2H (down)."""
        self._flying: deque[tuple[_Slot, Ticket]] = deque()
        with ExitStack() as stack:
            kept = _Kept(device, stack)
            self._work = _Work(layout, device.kernel(KERNEL), network, *(kept.stream() for _ in range(3)))
            self._inputs = deque(_Input(kept, layout, self.batch) for _ in range(_INPUTS))
            self._idle = deque(_Slot(kept, layout, self.batch) for _ in range(self.slots))
            self._stack = stack.pop_all()

    def free(self) -> None:
        """Wait for what flies and give everything back."""
        try:
            self.land()
        except DeviceError as error:  # nothing flies any more, and nothing can be given back
            logger.debug("the ring ends with its device: %s", error)
        finally:
            self._stack.close()

    def submit(self, places: Sequence[Place]) -> Ticket:
        """Start a batch, after waiting for the oldest where no slot is idle.

        Raises
        ------
        MemoryError
            See `Network.enqueue`; nothing of the batch flies.
        """
        if not self._idle:
            self._land_oldest()
        slot, ticket = self._idle[0], Ticket(places, list(places))
        try:
            slot.start(places, self._inputs[0], self._work)
        except (MemoryError, BackendError):  # the device lives, and what was started of the batch ends
            slot.abandon()
            raise
        self._inputs.rotate(-1)
        self._idle.popleft()
        self._flying.append((slot, ticket))
        return ticket

    def wait(self, ticket: Ticket) -> Inference:
        """What came of a batch, after all that were submitted before it."""
        while ticket.inference is None:
            self._land_oldest()
        return ticket.inference

    def land(self) -> None:
        """Wait for all that flies."""
        while self._flying:
            self._land_oldest()

    def uploaded(self) -> list[Place]:
        """Places that became free since this was asked last; waits for nothing."""
        freed: list[Place] = []
        for slot, ticket in self._flying:
            if ticket.waiting and slot.is_uploaded:
                freed += ticket.waiting
                ticket.waiting.clear()
        return freed

    def _land_oldest(self) -> None:
        slot, ticket = self._flying[0]
        ticket.inference = slot.finish(len(ticket.places))
        self.seconds.update(slot.seconds)
        self._flying.popleft()
        self._idle.append(slot)


class _Kept:
    """Takes what a ring is made of, and has it given back with the ring."""

    def __init__(self, device: Device, stack: ExitStack) -> None:
        self._device, self._stack = device, stack

    def memory(self, size: int) -> Memory:
        """So many bytes on the device."""
        return self._until_the_end(self._device.allocate(size))

    def pinned(self, shape: tuple[int, ...]) -> Pinned:
        """Pinned float32."""
        return self._until_the_end(self._device.pin(shape, np.float32))

    def event(self) -> Event:
        """An event."""
        return self._until_the_end(self._device.event())

    def stream(self) -> Stream:
        """A stream."""
        return self._until_the_end(self._device.stream())

    def _until_the_end(self, thing: _Owned) -> _Owned:
        self._stack.callback(thing.free)
        return thing


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done with every batch, and where; one is computed at a time: the network has one memory."""

    layout: Layout
    kernel: Any
    network: Network
    up: Stream
    compute: Stream
    down: Stream


class _Input:
    """The images of a batch on the device, until the network has consumed them."""

    def __init__(self, kept: _Kept, layout: Layout, batch: int) -> None:
        self._counts = kept.memory(batch * layout.pixels * _HALF)
        self._scales = kept.memory(batch * 2 * 2 * _FLOAT)
        self._image = kept.memory(batch * layout.pixels * _HALF)
        self.consumed = kept.event()

    def upload(self, places: Sequence[Place], work: _Work) -> None:
        """Start the copies."""
        for index, place in enumerate(places):
            work.up.upload(place.counts, self._counts.address + index * work.layout.pixels * _HALF)
            work.up.upload(place.scales, self._scales.address + index * place.scales.nbytes)

    def compute(self, number: int, outputs: Sequence[Memory], work: _Work) -> None:
        """Start the kernel and the network."""
        pixels = number * work.layout.pixels
        addresses = self._counts.address, self._scales.address, self._image.address
        work.compute.launch(work.kernel, (-(-pixels // _THREADS), _THREADS), (*addresses, pixels))
        targets = [memory.address for memory in outputs]
        work.network.enqueue(number, self._image.address, targets, work.compute, self.consumed)


class _Slot:
    """A batch on its way, and the memory of its results."""

    def __init__(self, kept: _Kept, layout: Layout, batch: int) -> None:
        self._outputs = [kept.memory(batch * prod(shape) * _FLOAT) for shape in layout.outputs]
        self._results = [kept.pinned((batch, *shape)) for shape in layout.outputs]
        self._begun, self._uploaded, self._computing, self._computed, self._ended = (kept.event() for _ in range(5))

    @property
    def is_uploaded(self) -> bool:
        """Whether its images are on the device."""
        return self._uploaded.is_done

    def start(self, places: Sequence[Place], images: _Input, work: _Work) -> None:
        """Start everything that a batch needs, in order."""
        work.up.follow(images.consumed)
        work.up.record(self._begun)
        images.upload(places, work)
        work.up.record(self._uploaded)
        work.compute.follow(self._uploaded)
        work.compute.record(self._computing)
        try:
            images.compute(len(places), self._outputs, work)
        finally:  # whatever was started has an end that can be waited for
            work.compute.record(self._computed)
        work.down.follow(self._computed)
        for memory, result in zip(self._outputs, self._results, strict=True):
            work.down.download(memory.address, result.array[: len(places)])
        work.down.record(self._ended)

    def abandon(self) -> None:
        """Wait for what was started, where nothing is to be copied out."""
        self._computed.wait()

    @property
    def seconds(self) -> Any:
        """What each part took, of a batch that was waited for."""
        spans = (self._begun, self._uploaded), (self._computing, self._computed), (self._computed, self._ended)
        return {part: end.seconds_since(begin) for part, (begin, end) in zip(PARTS, spans, strict=True)}

    def finish(self, number: int) -> Inference:
        """Wait, and copy the results out."""
        self._ended.wait()
        return Inference(*(np.array(result.array[:number]) for result in self._results))
