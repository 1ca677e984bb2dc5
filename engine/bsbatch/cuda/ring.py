"""A ring of slots: while one batch is computed, the next is copied in and the one before copied out.

Every slot has its stream and its memory on the device, taken once. Images wait in places of pinned memory, each for one
examination, that intake threads write into; a place is free again as soon as its image is on the device.
"""

import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Device, DeviceError, Stream

logger = logging.getLogger(__name__)

CLASSES = 2
KERNEL = "normalise"
_THREADS = 256
_HALF, _FLOAT = 2, 4
_PARTS = ("upload", "compute", "download")


@dataclass(frozen=True, slots=True)
class Layout:
    """The image of an examination."""

    rows: int = 512
    columns: int = 512

    @property
    def pixels(self) -> int:
        """Of one examination."""
        return self.rows * self.columns


MODEL = Layout()
"""What the paper's network takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Pinned memory for one examination, as `bsbatch.preprocess.compact` fills it."""

    counts: NDArray[np.uint16]
    """``(rows, columns)``."""
    scales: NDArray[np.float32]
    """``(2, 2)``."""


class Network(Protocol):
    """A model on a device."""

    def enqueue(self, batch: int, image: int, scores: int, stream: Stream) -> None:
        """Start the network behind what the stream has to do.

        Parameters
        ----------
        batch
            Images, at most what its ring was made for.
        image, scores
            Addresses of ``(batch, 1, rows, columns) float16`` and ``(batch, 2) float32``.
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
    scores: NDArray[np.float32] | None = None
    """``(N, 2)`` once it is computed."""


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
        """On the device, by part: upload, compute (with the making of the images), download."""
        self._network, self._layout, self._kernel = network, layout, device.kernel(KERNEL)
        self._flying: deque[tuple[_Slot, Ticket]] = deque()
        with ExitStack() as stack:
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
            slot.start(places, self._layout, self._kernel, self._network)
        except MemoryError:
            slot.abandon()
            raise
        self._idle.popleft()
        self._flying.append((slot, ticket))
        return ticket

    def wait(self, ticket: Ticket) -> NDArray[np.float32]:
        """``(N, 2)`` scores of a batch, after all that were submitted before it."""
        while ticket.scores is None:
            self._land_oldest()
        return ticket.scores

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
        ticket.scores = slot.finish(len(ticket.places), self.seconds)
        self._flying.popleft()
        self._idle.append(slot)


class _Slot:
    """The memory and the stream of one batch."""

    def __init__(self, device: Device, layout: Layout, batch: int, stack: ExitStack) -> None:
        def kept(thing: Any) -> Any:
            stack.callback(thing.free)
            return thing

        self._counts = kept(device.allocate(batch * layout.pixels * _HALF))
        self._scales = kept(device.allocate(batch * 2 * 2 * _FLOAT))
        self._image = kept(device.allocate(batch * layout.pixels * _HALF))
        self._scores = kept(device.allocate(batch * CLASSES * _FLOAT))
        self._result = kept(device.pin((batch, CLASSES), np.float32))
        self._events = [kept(device.event()) for _ in range(len(_PARTS) + 1)]
        self._stream: Stream = kept(device.stream())

    @property
    def is_uploaded(self) -> bool:
        """Whether its images are on the device."""
        return bool(self._events[1].is_done)

    def start(self, places: Sequence[Place], layout: Layout, kernel: Any, network: Network) -> None:
        """Start everything that a batch needs, in order."""
        number, stream = len(places), self._stream
        stream.record(self._events[0])
        try:
            for index, place in enumerate(places):
                stream.upload(place.counts, self._counts.address + index * layout.pixels * _HALF)
                stream.upload(place.scales, self._scales.address + index * place.scales.nbytes)
            stream.record(self._events[1])
            pixels = number * layout.pixels
            addresses = self._counts.address, self._scales.address, self._image.address
            stream.launch(kernel, (-(-pixels // _THREADS), _THREADS), (*addresses, pixels))
            network.enqueue(number, self._image.address, self._scores.address, stream)
            stream.record(self._events[2])
            stream.download(self._scores.address, self._result.array[:number])
        finally:  # whatever was started has an end that can be waited for
            stream.record(self._events[3])

    def abandon(self) -> None:
        """Wait for what was started."""
        self._events[3].wait()

    def finish(self, number: int, seconds: "Counter[str]") -> NDArray[np.float32]:
        """Wait, and copy the scores out."""
        self._events[-1].wait()
        for part, begin, end in zip(_PARTS, self._events, self._events[1:], strict=False):
            seconds[part] += end.seconds_since(begin)
        return np.array(self._result.array[:number])
