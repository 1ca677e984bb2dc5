"""A fake GPU in numpy that enforces the rules of `bsbatch.cuda.device` and works late, as a real one does.

Work waits in its stream until a thread waits for it, or is done at random times.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Generic, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Array, DeviceError, Event, MisuseError, Ownership, Resource, Scalar

Kernel = Callable[["FakeDevice", Sequence[int]], None]
_ALIGNMENT = 256
_PROBABILITY, _MOST_AT_ONCE = 0.05, 8
"""Chance that a stream works while other work is enqueued, and pieces of work at most: low, so much stays in flight."""


class FakeHost:
    """The pinned memory of a machine, shared by all its devices."""

    def __init__(self) -> None:
        self._arrays: list[Array] = []

    def pin(self, shape: tuple[int, ...], dtype: type[Scalar]) -> NDArray[Scalar]:
        """Make an array of noise: fresh pinned memory may hold anything."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        array = np.frombuffer(random.randbytes(size), np.uint8).copy().view(dtype).reshape(shape)
        self._arrays.append(array)
        return array

    def unpin(self, array: Array) -> None:
        """Forget an array."""
        self._arrays = [other for other in self._arrays if other is not array]

    def check(self, array: Array) -> None:
        """Raise `MisuseError` for an array that is not pinned or not contiguous."""
        if not any(np.may_share_memory(array, pinned) for pinned in self._arrays):
            raise MisuseError("a copy starts or ends in memory that is not pinned, or not any more")
        if not array.flags.c_contiguous:
            raise MisuseError("a copy starts or ends in an array that is not contiguous")


class FakeDevice:
    """A fake device with a given amount of memory, and kernels by name."""

    def __init__(
        self, memory: int, kernels: Mapping[str, Kernel], host: FakeHost, chance: random.Random | None = None
    ) -> None:
        """Store the arguments.

        Parameters
        ----------
        memory
            Bytes on the device.
        kernels
            Functions that do a kernel's work on the device's memory.
        host
            Shared by the devices of one machine.
        chance
            Source of the random times at which work is done that no thread waits for; None for never.
        """
        self.memory = memory
        self.host = host
        self.ownership = Ownership()
        self._kernels = kernels
        self._chance = chance
        self._blocks: dict[int, NDArray[np.uint8]] = {}
        self._next = _ALIGNMENT
        self.streams: dict[int, FakeStream] = {}
        self.events: dict[int, FakeEvent] = {}
        """Streams and events by handle, as a library of the device finds them."""

    def __enter__(self) -> Self:
        self.ownership.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ownership.release()

    def free_memory(self) -> int:
        """See `bsbatch.cuda.device.Device`."""
        self.ownership.check()
        return self.memory - sum(block.size for block in self._blocks.values())

    def allocate(self, size: int) -> "FakeMemory":
        """See `bsbatch.cuda.device.Device`."""
        if size > self.free_memory():
            raise MemoryError(f"{size} bytes of {self.free_memory()}")
        address, self._next = self._next, self._next + size + _ALIGNMENT - size % _ALIGNMENT
        self._blocks[address] = np.frombuffer(random.randbytes(size), np.uint8).copy()
        return FakeMemory(self, address)

    def pin(self, shape: tuple[int, ...], dtype: type[Scalar]) -> "FakePinned[Scalar]":
        """See `bsbatch.cuda.device.Device`."""
        return FakePinned(self, self.host.pin(shape, dtype))

    def stream(self) -> "FakeStream":
        """See `bsbatch.cuda.device.Device`."""
        stream = FakeStream(self)
        self.streams[stream.handle] = stream
        return stream

    def event(self) -> "FakeEvent":
        """See `bsbatch.cuda.device.Device`."""
        event = FakeEvent(self)
        self.events[event.handle] = event
        return event

    def kernel(self, name: str) -> Kernel:
        """See `bsbatch.cuda.device.Device`."""
        self.ownership.check()
        return self._kernels[name]

    def bytes_at(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a view of the device's memory, for kernels."""
        for start, block in self._blocks.items():
            if start <= address and address + size <= start + block.size:
                return block[address - start : address - start + size]
        raise MisuseError(f"{size} bytes from address {address} on are not, or not any more, allocated")

    def forget(self, address: int) -> None:
        """Drop an allocated block."""
        del self._blocks[address]

    def work_at_random(self) -> None:
        """Do some of the waiting work, by chance."""
        if self._chance is None:
            return
        for stream in self.streams.values():
            if self._chance.random() < _PROBABILITY:
                stream.work(self._chance.randrange(_MOST_AT_ONCE))


class FakeMemory(Resource):
    """See `bsbatch.cuda.device.Memory`."""

    def __init__(self, device: FakeDevice, address: int) -> None:
        super().__init__(device.ownership)
        self._device, self._address = device, address

    @property
    def address(self) -> int:
        """See `bsbatch.cuda.device.Memory`."""
        self.check()
        return self._address

    def _release(self) -> None:
        self._device.forget(self._address)


class FakePinned(Resource, Generic[Scalar]):
    """See `bsbatch.cuda.device.Pinned`."""

    def __init__(self, device: FakeDevice, array: NDArray[Scalar]) -> None:
        super().__init__(device.ownership)
        self._host, self._array = device.host, array

    @property
    def array(self) -> NDArray[Scalar]:
        """See `bsbatch.cuda.device.Pinned`."""
        self.check()
        return self._array

    def _release(self) -> None:
        self._host.unpin(self._array)


class _Mark:
    """A point in a stream, for which an event stands until it is recorded again."""

    def __init__(self, stream: "FakeStream") -> None:
        self.stream = stream
        self.seconds: float | None = None
        """Time at which the stream reached it."""

    def set_reached(self) -> None:
        """Note that the stream has reached the mark."""
        self.seconds = time.perf_counter()

    def wait(self) -> None:
        """Let the stream work until it reaches the mark."""
        while self.seconds is None:
            if self.stream.device.ownership.is_broken:
                raise DeviceError("the device failed before")
            self.stream.work(1)


class FakeEvent(Resource):
    """See `bsbatch.cuda.device.Event`."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device.ownership)
        self._device = device
        self.mark: _Mark | None = None

    @property
    def handle(self) -> int:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        return id(self)

    @property
    def is_done(self) -> bool:
        """See `bsbatch.cuda.device.Event`; an event that was never recorded is done."""
        self.check()
        if self.mark is None:
            return True
        self.mark.stream.device.work_at_random()
        return self.mark.seconds is not None

    def wait(self) -> None:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        if self.mark is not None:
            self.mark.wait()

    def seconds_since(self, earlier: Event) -> float:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        return self._time() - self._device.events[earlier.handle]._time()

    def _time(self) -> float:
        if self.mark is None or self.mark.seconds is None:
            raise MisuseError("the time of an event that is not done")
        return self.mark.seconds

    def _release(self) -> None:
        del self._device.events[self.handle]


class FakeStream(Resource):
    """See `bsbatch.cuda.device.Stream`."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__(device.ownership)
        self.device = device
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def handle(self) -> int:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        return id(self)

    def upload(self, array: Array, address: int) -> None:
        """See `bsbatch.cuda.device.Stream`; raises `MisuseError` if the array changes before the copy is made."""
        self.check()
        self.device.host.check(array)
        content = array.tobytes()

        def copy() -> None:
            if array.tobytes() != content:
                raise MisuseError("pinned memory was changed while a copy of it was in flight")
            self.device.bytes_at(address, array.nbytes)[:] = np.frombuffer(content, np.uint8)

        self.enqueue(copy)

    def download(self, address: int, array: Array) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        self.device.host.check(array)
        target = array.view(np.uint8).reshape(-1)
        self.enqueue(lambda: np.copyto(target, self.device.bytes_at(address, array.nbytes)))

    def launch(self, kernel: Kernel, grid: tuple[int, int], arguments: Sequence[int]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        if grid[0] * grid[1] < arguments[-1]:
            raise MisuseError(f"{grid[0]} blocks of {grid[1]} threads do not reach {arguments[-1]} elements")
        self.enqueue(lambda: kernel(self.device, arguments))

    def record(self, event: Event) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        mark = self.device.events[event.handle].mark = _Mark(self)
        self.enqueue(mark.set_reached)

    def follow(self, event: Event) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        mark = self.device.events[event.handle].mark
        if mark is not None:
            self.enqueue(mark.wait)

    def enqueue(self, work: Callable[[], None]) -> None:
        """Put work behind the work enqueued so far."""
        self.check()
        self._waiting.append(work)
        self.device.work_at_random()

    def work(self, number: int) -> None:
        """Do at most ``number`` pieces of the waiting work; a failure breaks the device."""
        for _ in range(min(number, len(self._waiting))):
            try:
                self._waiting.popleft()()
            except BaseException:
                self.device.ownership.is_broken = True
                raise

    def _release(self) -> None:
        if self._waiting:
            raise MisuseError("a stream was freed before its work was done")
        del self.device.streams[self.handle]
