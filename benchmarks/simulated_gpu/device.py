"""A GPU that is only time: it implements `bsbatch.cuda.device` and a network, computes nothing, and takes as long.

Streams are clocks: work that is enqueued ends at a known time, and a host that waits for it sleeps until then, without
the interpreter lock. Pinned memory is real, because threads that read write into it. Results are zeros and ones.
"""

import ctypes
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Array, Event, Ownership, Resource, Scalar

_ALIGNMENT = 256
_CONSUMED = 0.1
"""Share of a batch's time after which the first convolution has read the image."""
_KERNELS = 20
"""Launches of a batch in TensorRT, all in one call."""
_SPINS, _BYTES = 20_000, 1 << 20
"""Work to calibrate with."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a GPU and its driver take their time for."""

    scans_per_second: float
    """Rate of the network alone."""
    bytes_per_second: float = 25e9
    """Rate of copies in one direction; PCIe 4 with 16 lanes."""
    call_seconds: float = 2e-6
    """Time of the processor in one call of the driver."""
    launch_seconds: float = 5e-6
    """Time between two pieces of work on the device."""
    memory: int = 100 << 30
    keeps_lock: bool = True
    """True if calls that do not wait keep the interpreter lock, see `bsbatch.cuda.driver_api`."""
    is_spinning: bool = False
    """True if a host that waits for an event keeps a processor busy."""


class SimulatedDevice:
    """One GPU."""

    def __init__(self, speed: Speed) -> None:
        """Store the speed, and measure how fast this machine spends time."""
        self.ownership, self.speed = Ownership(), speed
        self.computing: list[tuple[float, float]] = []
        self.enqueued: list[float] = []
        """Start and end of every batch's computation, and when the host had enqueued it, by `time.perf_counter`."""
        self.calls = 0
        self.events: dict[int, SimulatedEvent] = {}
        self._sizes: dict[int, int] = {}
        self._next = _ALIGNMENT
        self._work, self._spin = _busy_call(keeps_lock=speed.keeps_lock), _spinner()

    def __enter__(self) -> Self:
        self.ownership.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ownership.release()

    def call(self, times: int = 1) -> None:
        """Spend the processor's time of calls of the driver."""
        self.calls += 1
        self._work(times * self.speed.call_seconds)

    def sleep_until(self, moment: float) -> None:
        """Let the host wait as an event does."""
        left = moment - time.perf_counter()
        if left > 0:
            (self._spin if self.speed.is_spinning else time.sleep)(left)

    def free_memory(self) -> int:
        """See `bsbatch.cuda.device.Device`."""
        self.ownership.check()
        return self.speed.memory - sum(self._sizes.values())

    def allocate(self, size: int) -> "SimulatedMemory":
        """See `bsbatch.cuda.device.Device`."""
        if size > self.free_memory():
            raise MemoryError(f"{size} bytes of {self.free_memory()}")
        address, self._next = self._next, self._next + size + _ALIGNMENT - size % _ALIGNMENT
        self._sizes[address] = size
        return SimulatedMemory(self, address)

    def forget(self, address: int) -> None:
        """Free an address."""
        del self._sizes[address]

    def pin(self, shape: tuple[int, ...], dtype: type[Scalar]) -> "SimulatedPinned[Scalar]":
        """See `bsbatch.cuda.device.Device`; every page is touched, as the driver does."""
        array = np.empty(shape, dtype)
        array[...] = 1
        return SimulatedPinned(self, array)

    def stream(self) -> "SimulatedStream":
        """See `bsbatch.cuda.device.Device`."""
        return SimulatedStream(self)

    def event(self) -> "SimulatedEvent":
        """See `bsbatch.cuda.device.Device`."""
        event = SimulatedEvent(self)
        self.events[event.handle] = event
        return event

    def kernel(self, name: str) -> Any:
        """See `bsbatch.cuda.device.Device`."""
        return name


class SimulatedMemory(Resource):
    """See `bsbatch.cuda.device.Memory`."""

    def __init__(self, device: SimulatedDevice, address: int) -> None:
        super().__init__(device.ownership)
        self._device, self._address = device, address

    @property
    def address(self) -> int:
        """See `bsbatch.cuda.device.Memory`."""
        self.check()
        return self._address

    def _release(self) -> None:
        self._device.forget(self._address)


class SimulatedPinned(Resource, Generic[Scalar]):
    """See `bsbatch.cuda.device.Pinned`."""

    def __init__(self, device: SimulatedDevice, array: NDArray[Scalar]) -> None:
        super().__init__(device.ownership)
        self._array = array

    @property
    def array(self) -> NDArray[Scalar]:
        """See `bsbatch.cuda.device.Pinned`."""
        self.check()
        return self._array


class SimulatedEvent(Resource):
    """See `bsbatch.cuda.device.Event`."""

    def __init__(self, device: SimulatedDevice) -> None:
        super().__init__(device.ownership)
        self._device, self.moment = device, 0.0

    @property
    def handle(self) -> int:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        return id(self)

    @property
    def is_done(self) -> bool:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        self._device.call()
        return self.moment <= time.perf_counter()

    def wait(self) -> None:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        self._device.sleep_until(self.moment)

    def seconds_since(self, earlier: Event) -> float:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        self._device.call()
        return self.moment - self._device.events[earlier.handle].moment

    def _release(self) -> None:
        del self._device.events[id(self)]


class SimulatedStream(Resource):
    """See `bsbatch.cuda.device.Stream`."""

    def __init__(self, device: SimulatedDevice) -> None:
        super().__init__(device.ownership)
        self._device, self._end = device, 0.0

    @property
    def handle(self) -> int:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        return id(self)

    def upload(self, array: Array, _: int) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._copy(array)

    def download(self, _: int, array: Array) -> None:
        """See `bsbatch.cuda.device.Stream`; the second column is 1, so that rows are probabilities."""
        self._copy(array)
        array[...] = 0
        array[..., -1] = 1

    def launch(self, _: Any, __: tuple[int, int], ___: Sequence[int]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call()
        self.extend(self._device.speed.launch_seconds)

    def record(self, event: Event) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call()
        self.extend(0)
        self._device.events[event.handle].moment = self._end

    def follow(self, event: Event) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call()
        self._end = max(self._end, self._device.events[event.handle].moment)

    def extend(self, seconds: float) -> tuple[float, float]:
        """Enqueue work of a length; return its start and end."""
        self.check()
        start = max(self._end, time.perf_counter())
        self._end = start + seconds
        return start, self._end

    def _copy(self, array: Array) -> tuple[float, float]:
        self._device.call()
        speed = self._device.speed
        return self.extend(array.nbytes / speed.bytes_per_second + speed.launch_seconds)


class SimulatedNetwork:
    """An engine, see `bsbatch.cuda.ring.Network`."""

    def __init__(self, device: SimulatedDevice, largest: int) -> None:
        self._device, self._largest = device, largest

    def enqueue(self, batch: int, _: int, __: Sequence[int], stream: SimulatedStream, consumed: SimulatedEvent) -> None:
        """See `bsbatch.cuda.ring.Network`."""
        if batch > self._largest:
            raise MemoryError(f"no workspace for {batch}")
        self._device.call(_KERNELS)
        seconds = batch / self._device.speed.scans_per_second
        start, end = stream.extend(seconds)
        consumed.moment = start + _CONSUMED * seconds
        self._device.computing.append((start, end))
        self._device.enqueued.append(time.perf_counter())


def _busy_call(*, keeps_lock: bool) -> Callable[[float], object]:
    """Return a function of the C library that takes a number of seconds of a processor."""
    library = (ctypes.PyDLL if keeps_lock else ctypes.CDLL)(None)
    buffer, fill = ctypes.create_string_buffer(_BYTES), library.memset
    fill.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    fill(buffer, 0, _BYTES)
    rate = _BYTES / _seconds(lambda: fill(buffer, 0, _BYTES))
    return lambda seconds: fill(buffer, 0, min(_BYTES, int(seconds * rate)))


def _spinner() -> Callable[[float], object]:
    """Return a function that keeps a processor busy for some seconds, without the interpreter lock."""
    rate = _SPINS / _seconds(lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", _SPINS))
    return lambda seconds: hashlib.pbkdf2_hmac("sha256", b"", b"", max(1, int(seconds * rate)))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
