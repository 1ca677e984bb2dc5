"""Protocols of one GPU: device memory, pinned memory, streams, events, copies, kernel launches.

`bsbatch.cuda.driver` implements them with pycuda, `bsbatch.cuda.fake` with numpy and without a GPU. Both enforce the
same rules and raise errors instead of undefined behaviour: freed resources are not used, only the thread that entered
the device uses its resources and it frees them before it leaves, and copies start or end in pinned memory that nobody
changes meanwhile.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from bsbatch.host.threads import thread_identity

Array = NDArray[np.generic]
Scalar = TypeVar("Scalar", bound=np.generic)
Scalar_co = TypeVar("Scalar_co", bound=np.generic, covariant=True)


class MisuseError(RuntimeError):
    """A rule of this layer was broken: a bug in the calling code."""


class DeviceError(RuntimeError):
    """The device failed, with the driver's message; this process cannot use it any more."""


class Freeable(Protocol):
    """A resource of a device."""

    def free(self) -> None:
        """Free the resource, once, in the thread that entered the device."""
        ...


class Memory(Protocol):
    """Memory on the device."""

    @property
    def address(self) -> int:
        """Address of the first byte."""
        ...

    def free(self) -> None:
        """Free the memory."""
        ...


class Pinned(Protocol[Scalar_co]):
    """An array in pinned host memory, which every device of the machine reads and writes directly."""

    @property
    def array(self) -> NDArray[Scalar_co]:
        """The array."""
        ...

    def free(self) -> None:
        """Free the memory; the array and all views of it become invalid."""
        ...


class Event(Protocol):
    """A point in a stream."""

    @property
    def handle(self) -> int:
        """The driver's ``CUevent``, for libraries that record it themselves."""
        ...

    @property
    def is_done(self) -> bool:
        """True if the device has reached the event."""
        ...

    def wait(self) -> None:
        """Block until the device has reached the event."""
        ...

    def seconds_since(self, earlier: "Event") -> float:
        """Return the seconds between two events that the device has reached, by the device's clock."""
        ...

    def free(self) -> None:
        """Free the event."""
        ...


class Stream(Protocol):
    """Work that the device does in order while the host continues."""

    @property
    def handle(self) -> int:
        """The driver's ``CUstream``, for libraries that enqueue work themselves."""
        ...

    def upload(self, array: Array, address: int) -> None:
        """Copy a contiguous view of pinned memory to an address on the device."""
        ...

    def download(self, address: int, array: Array) -> None:
        """Copy from an address on the device into a contiguous view of pinned memory."""
        ...

    def launch(self, kernel: Any, grid: tuple[int, int], arguments: Sequence[int]) -> None:
        """Start a kernel of `Device.kernel`.

        Parameters
        ----------
        grid
            Blocks, and threads in each.
        arguments
            Addresses, followed by one unsigned number of 32 bits.
        """
        ...

    def record(self, event: Event) -> None:
        """Put an event of the same device behind the work enqueued so far."""
        ...

    def follow(self, event: Event) -> None:
        """Make later work of this stream wait for an event of any stream; the host does not wait."""
        ...

    def free(self) -> None:
        """Free the stream; its work must be done."""
        ...


class Device(Protocol):
    """One GPU, for the thread that enters it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def free_memory(self) -> int:
        """Return the bytes of device memory that are free."""
        ...

    def allocate(self, size: int) -> Memory:
        """Allocate bytes of device memory.

        Raises
        ------
        MemoryError
            There is not enough left.
        """
        ...

    def pin(self, shape: tuple[int, ...], dtype: type[Scalar]) -> Pinned[Scalar]:
        """Allocate an array in pinned host memory.

        Raises
        ------
        MemoryError
            There is not enough left.
        """
        ...

    def stream(self) -> Stream:
        """Create a stream that runs beside all others."""
        ...

    def event(self) -> Event:
        """Create an event with timing."""
        ...

    def kernel(self, name: str) -> Any:
        """Load a kernel of ``cuda/kernels``, for `Stream.launch`."""
        ...


class Ownership:
    """The thread that owns a device, and the device's resources that are not freed yet."""

    def __init__(self) -> None:
        self._owner: int | None = None
        self._alive: set[Resource] = set()
        self.is_broken = False
        """True after a `DeviceError`: resources are not freed any more and end with the process."""

    def acquire(self) -> None:
        """Make the calling thread the owner."""
        if self._owner is not None:
            raise MisuseError("the device was entered already")
        self._owner = thread_identity()

    def release(self) -> None:
        """Have no owner any more."""
        self.check()
        self._owner = None
        if self._alive and not self.is_broken:
            kinds = sorted({type(resource).__name__ for resource in self._alive})
            self._alive.clear()
            raise MisuseError(f"the device was left before everything was freed: {', '.join(kinds)}")

    def check(self) -> None:
        """Raise `MisuseError` unless the calling thread is the owner."""
        if self._owner is None:
            raise MisuseError("the device was not entered")
        if thread_identity() != self._owner:
            raise MisuseError("the device belongs to another thread")

    def add(self, resource: "Resource") -> None:
        """Register a resource that has to be freed."""
        self.check()
        self._alive.add(resource)

    def remove(self, resource: "Resource") -> None:
        """Forget a resource that was freed."""
        self._alive.discard(resource)

    def has(self, resource: "Resource") -> bool:
        """True if the resource belongs to this device and is not freed."""
        return resource in self._alive


class Resource:
    """A resource of a device, until it is freed."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        ownership.add(self)

    def check(self) -> None:
        """Raise `MisuseError` if the resource was freed or the calling thread is not the owner."""
        self._ownership.check()
        if not self._ownership.has(self):
            raise MisuseError(f"{type(self).__name__} was freed already")

    def free(self) -> None:
        """Free the resource, once."""
        self.check()
        if not self._ownership.is_broken:
            self._release()
        self._ownership.remove(self)

    def _release(self) -> None: ...
