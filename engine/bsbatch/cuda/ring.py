"""A ring of slots: while one batch is computed, the next is copied in and the one before copied out.

Every slot has its stream and its memory on the device, taken once. Images wait in places of pinned memory, each for one
examination, that intake threads write into; a place is free again as soon as its image is on the device.
"""

import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Device, DeviceError, Event, Stream
from bsbatch.errors import BackendError
from bsbatch.records import Inference

logger = logging.getLogger(__name__)

CLASSES = 2
KERNEL = "normalise"
_THREADS = 256
_HALF, _FLOAT = 2, 4
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
    """Pinned memory for one examination, as `bsbatch.preprocess.compact` fills it."""

    counts: NDArray[np.uint16]
    """``(rows, columns)``."""
    scales: NDArray[np.float32]
    """``(2, 2)``."""


class Network(Protocol):
    """A model on a device."""

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream) -> None:
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
            last = device.event()
            stack.callback(last.free)
            self._computation = _Computation(layout, device.kernel(KERNEL), network, last)
            self._idle = deque(_Slot(device, layout, self.batch, stack) for _ in range(self.slots))
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
            slot.start(places, self._computation)
        except (MemoryError, BackendError):  # the device lives, and what was started of the batch ends
            slot.abandon()
            raise
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
        ticket.inference = slot.finish(len(ticket.places), self.seconds)
        self._flying.popleft()
        self._idle.append(slot)


@dataclass(frozen=True, slots=True)
class _Computation:
    """What every slot does with its images."""

    layout: Layout
    kernel: Any
    network: Network
    last: Event
    """The end of the computation before: one at a time, for the network has one memory for its activations."""


class _Slot:
    """The memory and the stream of one batch."""

    def __init__(self, device: Device, layout: Layout, batch: int, stack: ExitStack) -> None:
        def kept(thing: Any) -> Any:
            stack.callback(thing.free)
            return thing

        self._counts = kept(device.allocate(batch * layout.pixels * _HALF))
        self._scales = kept(device.allocate(batch * 2 * 2 * _FLOAT))
        self._image = kept(device.allocate(batch * layout.pixels * _HALF))
        self._outputs = [kept(device.allocate(batch * prod(shape) * _FLOAT)) for shape in layout.outputs]
        self._results = [kept(device.pin((batch, *shape), np.float32)) for shape in layout.outputs]
        self._begun, self._uploaded, self._computing, self._computed, self._ended = (
            kept(device.event()) for _ in range(5)
        )
        self._stream: Stream = kept(device.stream())

    @property
    def is_uploaded(self) -> bool:
        """Whether its images are on the device."""
        return bool(self._uploaded.is_done)

    def start(self, places: Sequence[Place], computation: _Computation) -> None:
        """Start everything that a batch needs, in order."""
        stream = self._stream
        stream.record(self._begun)
        try:
            self._upload(places, computation.layout)
            stream.record(self._uploaded)
            stream.follow(computation.last)
            stream.record(self._computing)
            self._compute(len(places), computation)
            stream.record(self._computed)
            stream.record(computation.last)
            self._download(len(places))
        finally:  # whatever was started has an end that can be waited for
            stream.record(self._ended)

    def _upload(self, places: Sequence[Place], layout: Layout) -> None:
        for index, place in enumerate(places):
            self._stream.upload(place.counts, self._counts.address + index * layout.pixels * _HALF)
            self._stream.upload(place.scales, self._scales.address + index * place.scales.nbytes)

    def _compute(self, number: int, computation: _Computation) -> None:
        pixels = number * computation.layout.pixels
        addresses = self._counts.address, self._scales.address, self._image.address
        self._stream.launch(computation.kernel, (-(-pixels // _THREADS), _THREADS), (*addresses, pixels))
        outputs = [memory.address for memory in self._outputs]
        computation.network.enqueue(number, self._image.address, outputs, self._stream)

    def _download(self, number: int) -> None:
        for memory, result in zip(self._outputs, self._results, strict=True):
            self._stream.download(memory.address, result.array[:number])

    def abandon(self) -> None:
        """Wait for what was started."""
        self._ended.wait()

    def finish(self, number: int, seconds: "Counter[str]") -> Inference:
        """Wait, and copy the results out."""
        self._ended.wait()
        seconds["H2D"] += self._uploaded.seconds_since(self._begun)
        seconds["compute"] += self._computed.seconds_since(self._computing)
        seconds["D2H"] += self._ended.seconds_since(self._computed)
        return Inference(*(np.array(result.array[:number]) for result in self._results))
