"""A ring of slots: one batch is copied in while another is computed and a third is copied out.

Each of the three steps has its own stream. A slot keeps the results of a batch until they are fetched. The images are
in one of two inputs, which the device refills as soon as the network has consumed them. All memory is allocated once.
Intake threads write images into pinned memory, one `PinnedImage` for each examination; it is free again as soon as the
image is on the device.
"""

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np

from bsbatch.cuda.device import Array, Device, DeviceError, Event, Freeable, Memory, Pinned, Stream
from bsbatch.errors import BackendError
from bsbatch.geometry import IMAGE_SHAPE, OUTPUT_SHAPES
from bsbatch.records import Inference, PinnedImage

logger = logging.getLogger(__name__)

CLASSES = 2
KERNEL = "normalise"
_THREADS = 256
_HALF, _FLOAT = 2, 4
"""Bytes of a float16 and of a float32."""
_SCALES = (2, 2)
"""Minimum and span of each view, see `bsbatch.records.PinnedImage`."""
_INPUTS = 2
"""The network reads one while the other is filled."""
COMPUTE = "compute"
PARTS = ("H2D", COMPUTE, "D2H")
"""Names of the three steps, in trtexec's words."""


_Resource = TypeVar("_Resource", bound=Freeable)


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Shapes of a network's input and outputs, for one examination."""

    rows: int = IMAGE_SHAPE[0]
    columns: int = IMAGE_SHAPE[1]
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: shapes_of(("probabilities",)))
    """Shapes of its outputs in their order, by their fields of `bsbatch.records.Inference`."""

    @property
    def pixels(self) -> int:
        """Pixels of one examination."""
        return self.rows * self.columns


def shapes_of(fields: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of these outputs of the paper's network."""
    return {name: OUTPUT_SHAPES[name] for name in fields}


MODEL_SHAPE = NetworkShape()
"""The paper's network."""


class Network(Protocol):
    """A model on a device."""

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        """Enqueue the network on a stream; a `Ring` computes one batch at a time.

        Parameters
        ----------
        batch
            Images, at most the size of the ring's slots.
        image, outputs
            Addresses of ``(batch, 1, rows, columns) float16``, and of ``(batch, 2) float32`` and any other output of
            `NetworkShape.outputs`.
        stream
            The stream to enqueue on.
        consumed
            Event to record after the last read of the image.

        Raises
        ------
        MemoryError
            The device has too little memory left for this batch.
        """
        ...


@dataclass(slots=True, eq=False)
class SubmittedBatch:
    """A batch in flight or finished."""

    images: Sequence[PinnedImage]
    uploading: list[PinnedImage] = field(default_factory=list)
    """Images that were not on the device at the last look."""
    inference: Inference | None = None
    """The results; None while the batch is in flight."""


class Ring:
    """Slots on one device, for the thread that entered it."""

    def __init__(self, device: Device, network: Network, shape: NetworkShape, slots: int, batch: int) -> None:
        """Allocate all memory.

        Parameters
        ----------
        device, network, shape
            The device that computes, the network on it, and its shape.
        slots
            Batches in flight at most.
        batch
            Examinations in a slot.

        Raises
        ------
        MemoryError
            The device or the host has too little memory left; nothing stays allocated.
        """
        self.slots, self.batch = slots, batch
        self.seconds: Counter[str] = Counter()
        """Device time of finished batches: H2D (copying in), compute (normalisation and network), D2H (copying out)."""
        self._in_flight: deque[tuple[_Slot, SubmittedBatch]] = deque()
        with ExitStack() as stack:
            allocator = _Allocator(device, stack)
            streams = (allocator.stream() for _ in range(3))
            self._pipeline = _Pipeline(shape, device.kernel(KERNEL), network, *streams)
            stack.callback(self._unload)
            self._inputs = deque(_Input(allocator, shape, batch) for _ in range(_INPUTS))
            self._idle = deque(_Slot(allocator, shape, batch) for _ in range(slots))
            self._stack = stack.pop_all()

    def free(self) -> None:
        """Wait for the batches in flight and free everything; the ring cannot be used any more."""
        try:
            self.finish_all()
        except DeviceError as error:  # nothing is in flight any more, and nothing can be freed
            logger.debug("the ring ends with its device: %s", error)
        finally:
            self._stack.close()

    def submit(self, images: Sequence[PinnedImage]) -> SubmittedBatch:
        """Start a batch; waits for the oldest one first if no slot is idle.

        Raises
        ------
        MemoryError
            See `Network.enqueue`; nothing of the batch is in flight.
        """
        if not self._idle:
            self._finish_oldest()
        slot, batch = self._idle[0], SubmittedBatch(images, list(images))
        try:
            slot.start(images, self._inputs[0], self._pipeline)
        except MemoryError:  # the device still works, and the copies that were started finish
            slot.abandon(self._pipeline)
            raise
        except BackendError:
            with suppress(DeviceError):  # the library's message says more than the driver's
                slot.abandon(self._pipeline)
            raise
        self._inputs.rotate(-1)
        self._idle.popleft()
        self._in_flight.append((slot, batch))
        return batch

    def wait(self, batch: SubmittedBatch) -> Inference:
        """Wait for a batch and all that were submitted before it, and return its results."""
        while batch.inference is None:
            self._finish_oldest()
        return batch.inference

    def finish_all(self) -> None:
        """Wait for all batches in flight."""
        while self._in_flight:
            self._finish_oldest()

    def poll_uploaded(self) -> list[PinnedImage]:
        """Return the images that reached the device since the last call; does not wait."""
        uploaded: list[PinnedImage] = []
        for slot, batch in self._in_flight:
            if batch.uploading and slot.is_uploaded:
                uploaded += batch.uploading
                batch.uploading.clear()
        return uploaded

    def _unload(self) -> None:
        """Drop the kernel while the device is entered: the driver unloads it when nothing refers to it."""
        del self._pipeline

    def _finish_oldest(self) -> None:
        slot, batch = self._in_flight[0]
        batch.inference = slot.finish(len(batch.images))
        self.seconds.update(slot.seconds)
        self._in_flight.popleft()
        self._idle.append(slot)


class _Allocator:
    """Allocates the resources of a ring and has them freed with it."""

    def __init__(self, device: Device, stack: ExitStack) -> None:
        self._device, self._stack = device, stack

    def allocate(self, size: int) -> Memory:
        """Allocate bytes on the device."""
        return self._free_at_exit(self._device.allocate(size))

    def pin(self, shape: tuple[int, ...]) -> Pinned[np.float32]:
        """Allocate a pinned float32 array."""
        return self._free_at_exit(self._device.pin(shape, np.float32))

    def event(self) -> Event:
        """Create an event."""
        return self._free_at_exit(self._device.event())

    def stream(self) -> Stream:
        """Create a stream."""
        return self._free_at_exit(self._device.stream())

    def _free_at_exit(self, resource: _Resource) -> _Resource:
        self._stack.callback(resource.free)
        return resource


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """Kernel, network and streams for all batches; the network's workspace admits one batch at a time."""

    shape: NetworkShape
    kernel: Any
    network: Network
    up: Stream
    compute: Stream
    down: Stream


class _Input:
    """The images of a batch on the device, until the network has consumed them."""

    def __init__(self, allocator: _Allocator, shape: NetworkShape, batch: int) -> None:
        self._counts = allocator.allocate(batch * shape.pixels * _HALF)
        self._scales = allocator.allocate(batch * prod(_SCALES) * _FLOAT)
        self._image = allocator.allocate(batch * shape.pixels * _HALF)
        self.consumed = allocator.event()

    def upload(self, images: Sequence[PinnedImage], scales: Array, pipeline: _Pipeline) -> None:
        """Start the copies: one for neighbouring images, and one for the scales of all."""
        pipeline.up.upload(scales, self._scales.address)
        address = self._counts.address
        for counts in _join_neighbours(images):
            pipeline.up.upload(counts, address)
            address += counts.nbytes

    def compute(self, number: int, outputs: Sequence[Memory], pipeline: _Pipeline) -> None:
        """Start the kernel and the network."""
        pixels = number * pipeline.shape.pixels
        addresses = self._counts.address, self._scales.address, self._image.address
        pipeline.compute.launch(pipeline.kernel, (-(-pixels // _THREADS), _THREADS), (*addresses, pixels))
        targets = [memory.address for memory in outputs]
        pipeline.network.enqueue(number, self._image.address, targets, pipeline.compute, self.consumed)


def _join_neighbours(images: Sequence[PinnedImage]) -> Iterator[Array]:
    """Yield the counts of images in their order, of neighbours in memory together: every copy takes the host time."""
    start = 0
    for stop, image in enumerate(images, 1):
        onwards, following = images[start].onwards, images[stop].address if stop < len(images) else None
        if onwards is None:
            yield image.counts
        elif following == image.address + image.counts.nbytes and stop - start < len(onwards):
            continue
        else:
            yield onwards[: stop - start]
        start = stop


class _Slot:
    """A batch in flight, and the memory for its results."""

    def __init__(self, allocator: _Allocator, shape: NetworkShape, batch: int) -> None:
        self._fields = tuple(shape.outputs)
        self._outputs = [allocator.allocate(batch * prod(output) * _FLOAT) for output in shape.outputs.values()]
        self._results = [allocator.pin((batch, *output)) for output in shape.outputs.values()]
        self._scales = allocator.pin((batch, *_SCALES))
        events = (allocator.event() for _ in range(5))
        self._begun, self._uploaded, self._computing, self._computed, self._ended = events

    @property
    def is_uploaded(self) -> bool:
        """True if the batch's images are on the device."""
        return self._uploaded.is_done

    def start(self, images: Sequence[PinnedImage], batch_input: _Input, pipeline: _Pipeline) -> None:
        """Enqueue all steps of a batch."""
        pipeline.up.follow(batch_input.consumed)
        pipeline.up.record(self._begun)
        scales = self._scales.array[: len(images)]
        scales[...] = [image.scales for image in images]
        batch_input.upload(images, scales, pipeline)
        pipeline.up.record(self._uploaded)
        pipeline.compute.follow(self._uploaded)
        pipeline.compute.record(self._computing)
        batch_input.compute(len(images), self._outputs, pipeline)
        pipeline.compute.record(self._computed)
        pipeline.down.follow(self._computed)
        for memory, result in zip(self._outputs, self._results, strict=True):
            pipeline.down.download(memory.address, result.array[: len(images)])
        pipeline.down.record(self._ended)

    def abandon(self, pipeline: _Pipeline) -> None:
        """Wait for the work that was started, without copying results out."""
        pipeline.compute.record(self._computed)
        self._computed.wait()

    @property
    def seconds(self) -> dict[str, float]:
        """Device time of each step of a finished batch, by `PARTS`."""
        spans = (self._begun, self._uploaded), (self._computing, self._computed), (self._computed, self._ended)
        return {part: end.seconds_since(begin) for part, (begin, end) in zip(PARTS, spans, strict=True)}

    def finish(self, number: int) -> Inference:
        """Wait, and copy the results of the first ``number`` images."""
        self._ended.wait()
        arrays = (np.array(result.array[:number]) for result in self._results)
        return Inference(**dict(zip(self._fields, arrays, strict=True)))
