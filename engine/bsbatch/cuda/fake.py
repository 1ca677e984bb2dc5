"""A GPU out of numpy, with the rules of `bsbatch.cuda.device` and work that is done late, as on a real one.

What is started waits in its stream until somebody waits for it, or until chance has it done.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bsbatch.cuda.device import DeviceError, MisuseError, Owned, Ownership

Kernel = Callable[["FakeDevice", Sequence[int]], None]
_ALIGNMENT = 256
_LUCK, _AT_ONCE = 0.05, 8
"""How often a stream gets on while others are started, and with how much at most: seldom, so that much is in flight."""


class FakeHost:
    """The pinned memory of a machine, which all its devices see."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []

    def pin(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Make an array of noise: nothing says what pinned memory holds."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        array = np.frombuffer(random.randbytes(size), np.uint8).copy().view(dtype).reshape(shape)
        self._arrays.append(array)
        return array

    def unpin(self, array: NDArray[Any]) -> None:
        """Forget an array."""
        self._arrays = [other for other in self._arrays if other is not array]

    def check(self, array: NDArray[Any]) -> None:
        """Refuse memory that the device would not see."""
        if not any(np.may_share_memory(array, pinned) for pinned in self._arrays):
            raise MisuseError("a copy starts or ends in memory that is not pinned, or not any more")
        if not array.flags.c_contiguous:
            raise MisuseError("a copy starts or ends in an array that is not contiguous")


class FakeDevice:
    """Memory of a size, and kernels by their names."""

    def __init__(
        self, memory: int, kernels: Mapping[str, Kernel], host: FakeHost, chance: random.Random | None = None
    ) -> None:
        """Take nothing yet.

        Parameters
        ----------
        memory
            Bytes on the device.
        kernels
            What each does to the bytes.
        host
            Shared by the devices of one machine.
        chance
            Decides when work is done that nobody waits for; None for never.
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
        """By their handles, as a library of the device finds them."""

    def __enter__(self) -> Self:
        self.ownership.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ownership.end()

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
        return FakeMemory(self, address, size)

    def pin(self, shape: tuple[int, ...], dtype: DTypeLike) -> "FakePinned":
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
        """A piece of the device's memory, for kernels."""
        for start, block in self._blocks.items():
            if start <= address and address + size <= start + block.size:
                return block[address - start : address - start + size]
        raise MisuseError(f"{size} bytes from address {address} on are not, or not any more, allocated")

    def release(self, address: int) -> None:
        """Forget memory."""
        del self._blocks[address]

    def go_on(self) -> None:
        """Do some of the work that waits, as chance has it."""
        if self._chance is None:
            return
        for stream in self.streams.values():
            if self._chance.random() < _LUCK:
                stream.work(self._chance.randrange(_AT_ONCE))


class FakeMemory(Owned):
    """See `bsbatch.cuda.device.Memory`."""

    def __init__(self, device: FakeDevice, address: int, size: int) -> None:
        super().__init__(device.ownership)
        self._device, self._address, self.size = device, address, size

    @property
    def address(self) -> int:
        """Where it begins."""
        self.check()
        return self._address

    def _release(self) -> None:
        self._device.release(self._address)


class FakePinned(Owned):
    """See `bsbatch.cuda.device.Pinned`."""

    def __init__(self, device: FakeDevice, array: NDArray[Any]) -> None:
        super().__init__(device.ownership)
        self._host, self._array = device.host, array

    @property
    def array(self) -> NDArray[Any]:
        """The memory."""
        self.check()
        return self._array

    def _release(self) -> None:
        self._host.unpin(self._array)


class _Mark:
    """One point in one stream: what an event stands for from one record to the next."""

    def __init__(self, stream: "FakeStream") -> None:
        self.stream = stream
        self.at: float | None = None

    def come(self) -> None:
        """The stream has come to it."""
        self.at = time.perf_counter()

    def reach(self) -> None:
        """Have the stream come to it."""
        while self.at is None:
            if self.stream.device.ownership.is_broken:
                raise DeviceError("the device failed before")
            self.stream.work(1)


class FakeEvent(Owned):
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
        """Whether the stream has come to it; one that was never recorded is."""
        self.check()
        if self.mark is None:
            return True
        self.mark.stream.device.go_on()
        return self.mark.at is not None

    def wait(self) -> None:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        if self.mark is not None:
            self.mark.reach()

    def seconds_since(self, earlier: "FakeEvent") -> float:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        return self._time() - earlier._time()

    def _time(self) -> float:
        if self.mark is None or self.mark.at is None:
            raise MisuseError("the time of an event that is not done")
        return self.mark.at

    def _release(self) -> None:
        del self._device.events[self.handle]


class FakeStream(Owned):
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

    def upload(self, array: NDArray[Any], address: int) -> None:
        """See `bsbatch.cuda.device.Stream`; what the array holds by then must be what it holds now."""
        self.check()
        self.device.host.check(array)
        meant = array.tobytes()

        def copy() -> None:
            if array.tobytes() != meant:
                raise MisuseError("pinned memory was changed while a copy of it was in flight")
            self.device.bytes_at(address, array.nbytes)[:] = np.frombuffer(meant, np.uint8)

        self.start(copy)

    def download(self, address: int, array: NDArray[Any]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        self.device.host.check(array)
        target = array.view(np.uint8).reshape(-1)
        self.start(lambda: np.copyto(target, self.device.bytes_at(address, array.nbytes)))

    def launch(self, kernel: Kernel, grid: tuple[int, int], arguments: Sequence[int]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        if grid[0] * grid[1] < arguments[-1]:
            raise MisuseError(f"{grid[0]} blocks of {grid[1]} threads do not reach {arguments[-1]} elements")
        self.start(lambda: kernel(self.device, arguments))

    def record(self, event: FakeEvent) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        event.check()
        event.mark = _Mark(self)
        self.start(event.mark.come)

    def follow(self, event: FakeEvent) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        event.check()
        if event.mark is not None:
            self.start(event.mark.reach)

    def start(self, work: Callable[[], None]) -> None:
        """Put work behind what was started so far."""
        self.check()
        self._waiting.append(work)
        self.device.go_on()

    def work(self, number: int) -> None:
        """Do so many pieces of what waits; after a failure none is ever done."""
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
