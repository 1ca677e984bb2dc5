"""Fake machines for tests: small images, a kernel and a network in numpy, and the expected scores and heat maps."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Device, DeviceError, Event, Stream
from bsbatch.cuda.fake import FakeDevice, FakeEvent, FakeHost, FakeStream
from bsbatch.cuda.ring import Network, NetworkShape
from bsbatch.records import PinnedImage

SMALL = NetworkShape(4, 8)
SMALL_WITH_ALL = NetworkShape(4, 8, {"probabilities": (2,), "distances": (), "cams": (2, 4)})
NUMBERS = np.arange(8, dtype=np.float32).reshape(2, 4)
PLENTY = 1 << 20


def normalise_on(shape: NetworkShape) -> Callable[[FakeDevice, Sequence[int]], None]:
    """The kernel, in numpy on the device's memory."""

    def normalise(device: FakeDevice, arguments: Sequence[int]) -> None:
        counts_at, scales_at, image_at, pixels = arguments
        number = pixels // shape.pixels
        counts = device.bytes_at(counts_at, 2 * pixels).view(np.uint16).reshape(number, shape.rows, 2, -1)
        scales = device.bytes_at(scales_at, number * 16).view(np.float32).reshape(number, 1, 2, 1, 2)
        low, span = scales[..., 0], scales[..., 1]
        image = ((counts.astype(np.float32) - low) / np.where(span == 0, 1, span)).astype(np.float16)
        bits = np.where(span == 0, counts, image.view(np.uint16))
        device.bytes_at(image_at, 2 * pixels)[:] = bits.reshape(-1).view(np.uint8)

    return normalise


class FakeNetwork:
    """Scores an image by its mean; ten times that is its distance, every second pixel plus the cell's number its map.

    It may run out of memory for large batches, or fail as a device does.
    """

    def __init__(self, device: FakeDevice, largest: int, fails_at: int) -> None:
        self.device, self.largest = device, largest
        self._fails_at, self._batches = fails_at, count()

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        if batch > self.largest:
            raise MemoryError(f"no workspace for {batch}")
        number, read = next(self._batches), list[NDArray[np.float16]]()
        assert isinstance(stream, FakeStream)
        assert isinstance(consumed, FakeEvent)
        stream.enqueue(lambda: read.append(self._read(batch, image)))
        stream.record(consumed)
        stream.enqueue(lambda: self._score(number, read.pop(), *outputs))

    def _read(self, batch: int, image: int) -> NDArray[np.float16]:
        halves = self.device.bytes_at(image, 2 * batch * SMALL.pixels).view(np.float16)
        return halves.reshape(batch, -1).copy()

    def _score(self, number: int, halves: NDArray[np.float16], scores: int, *others: int) -> None:
        if number == self._fails_at:
            raise DeviceError("an illegal memory access was encountered")
        batch = len(halves)
        means = halves.astype(np.float32).mean(axis=1)
        self.device.bytes_at(scores, 8 * batch)[:] = np.stack([1 - means, means], axis=1).reshape(-1).view(np.uint8)
        if others:
            distances, cams = others
            self.device.bytes_at(distances, 4 * batch)[:] = (10 * means).view(np.uint8)
            cells = halves.astype(np.float32).reshape(batch, SMALL.rows, SMALL.columns)[:, ::2, ::2] + NUMBERS
            self.device.bytes_at(cams, cells.nbytes)[:] = cells.reshape(-1).view(np.uint8)


def network(largest: int = 1 << 30, fails_at: int = -1) -> Callable[[Device], AbstractContextManager[Network]]:
    """A function that loads a `FakeNetwork`."""

    def load(device: Device) -> AbstractContextManager[Network]:
        assert isinstance(device, FakeDevice)
        return nullcontext(FakeNetwork(device, largest, fails_at))

    return load


def device(memory: int = PLENTY, host: FakeHost | None = None, seed: int | None = None) -> FakeDevice:
    """A fake device for small images; with a seed, it also works at random times."""
    chance = random.Random(seed) if seed is not None else None
    return FakeDevice(memory, {"normalise": normalise_on(SMALL)}, host or FakeHost(), chance)


def fill(image: PinnedImage, number: int) -> None:
    """Write the image of a number into pinned memory."""
    counts, scales = image_of(number)
    image.counts[:], image.scales[:] = counts, scales


def image_of(number: int) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Counts and scales, different for every number up to 60,000."""
    counts = np.full((SMALL.rows, SMALL.columns), number, np.uint16)
    return counts, np.array([[0, 60_000], [0, 60_000]], np.float32)


def scores_of(numbers: Sequence[int]) -> NDArray[np.float32]:
    """The expected probabilities, computed without the network."""
    means = (np.asarray(numbers, np.float32) / np.float32(60_000)).astype(np.float16).astype(np.float32)
    return np.stack([1 - means, means], axis=1)


def distances_of(numbers: Sequence[int]) -> NDArray[np.float32]:
    """The expected distances, computed without the network."""
    return 10 * scores_of(numbers)[:, 1]


def cams_of(numbers: Sequence[int]) -> NDArray[np.float32]:
    """The expected heat maps, computed without the network."""
    values = (np.asarray(numbers, np.float32) / np.float32(60_000)).astype(np.float16).astype(np.float32)
    return values[:, np.newaxis, np.newaxis] + NUMBERS
