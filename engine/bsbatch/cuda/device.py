"""The little that is needed of a GPU: memory, pinned memory, streams, events, copies, launches.

`bsbatch.cuda.driver` does it with pycuda, `bsbatch.cuda.fake` with numpy and without a GPU. Both keep one set of rules,
which are errors here and not undefined behaviour: what is freed is not used, everything is used by the thread that
entered the device and freed before it leaves, and copies start or end in pinned memory that nobody changes meanwhile.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import DTypeLike, NDArray

from bsbatch.host.threads import thread_identity


class MisuseError(RuntimeError):
    """A rule of this layer was broken: a bug of its caller."""


class DeviceError(RuntimeError):
    """The device failed, in the driver's words; it is of no more use to this process."""


class Memory(Protocol):
    """Bytes on the device."""

    @property
    def address(self) -> int:
        """Where they begin."""
        ...

    def free(self) -> None:
        """Give them back."""
        ...


class Pinned(Protocol):
    """An array of the host that the device reads and writes by itself; any device of the machine may."""

    @property
    def array(self) -> NDArray[Any]:
        """The memory."""
        ...

    def free(self) -> None:
        """Give it back; its array, and every view of it, is of no use then."""
        ...


class Event(Protocol):
    """A point in a stream."""

    @property
    def handle(self) -> int:
        """The driver's ``CUevent``, for libraries that record it themselves."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether the device has come to it."""
        ...

    def wait(self) -> None:
        """Come back when the device has come to it."""
        ...

    def seconds_since(self, earlier: Any) -> float:
        """Time on the device between two events that are done."""
        ...

    def free(self) -> None:
        """Give it back."""
        ...


class Stream(Protocol):
    """Work that the device does in order, while the host goes on."""

    @property
    def handle(self) -> int:
        """The driver's ``CUstream``, for libraries that enqueue work themselves."""
        ...

    def upload(self, array: NDArray[Any], address: int) -> None:
        """Copy a contiguous view of pinned memory to an address on the device."""
        ...

    def download(self, address: int, array: NDArray[Any]) -> None:
        """Copy from an address on the device into a contiguous view of pinned memory."""
        ...

    def launch(self, kernel: Any, grid: tuple[int, int], arguments: Sequence[int]) -> None:
        """Start a kernel of `Device.kernel` on ``grid`` blocks and threads.

        Parameters
        ----------
        arguments
            Addresses, and last of all an unsigned number of 32 bits.
        """
        ...

    def record(self, event: Any) -> None:
        """Put an event of the same device behind what was started so far."""
        ...

    def follow(self, event: Any) -> None:
        """Have what is started from now on wait for an event, which another stream may come to; the host goes on."""
        ...

    def free(self) -> None:
        """Give it back, after its work is done."""
        ...


class Device(Protocol):
    """One GPU, for the thread that enters it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def free_memory(self) -> int:
        """Bytes on the device that nobody has taken."""
        ...

    def allocate(self, size: int) -> Memory:
        """Take memory on the device.

        Raises
        ------
        MemoryError
            There is not so much left.
        """
        ...

    def pin(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pinned:
        """Take pinned memory of the host; `MemoryError` where there is not so much left."""
        ...

    def stream(self) -> Stream:
        """Make a stream beside all others."""
        ...

    def event(self) -> Event:
        """Make an event that knows its time."""
        ...

    def kernel(self, name: str) -> Any:
        """A kernel of ``cuda/kernels``, for `Stream.launch`."""
        ...


class Ownership:
    """Which thread owns a device, and what of it was not freed yet."""

    def __init__(self) -> None:
        self._owner: int | None = None
        self._alive: set[Owned] = set()
        self.is_broken = False
        """After a `DeviceError`: what was not freed goes with the process."""

    def begin(self) -> None:
        """Belong to this thread."""
        if self._owner is not None:
            raise MisuseError("the device was entered already")
        self._owner = thread_identity()

    def end(self) -> None:
        """Belong to nobody."""
        self.check()
        self._owner = None
        if self._alive and not self.is_broken:
            kinds = sorted({type(thing).__name__ for thing in self._alive})
            self._alive.clear()
            raise MisuseError(f"the device was left before everything was freed: {', '.join(kinds)}")

    def check(self) -> None:
        """Refuse another thread, or one that has left."""
        if self._owner is None:
            raise MisuseError("the device was not entered")
        if thread_identity() != self._owner:
            raise MisuseError("the device belongs to another thread")

    def adopt(self, thing: "Owned") -> None:
        """Take something in that has to be freed."""
        self.check()
        self._alive.add(thing)

    def disown(self, thing: "Owned") -> None:
        """Let something go that was freed."""
        self._alive.discard(thing)

    def has(self, thing: "Owned") -> bool:
        """Whether it is of this device and was not freed."""
        return thing in self._alive


class Owned:
    """Something of a device, until it is freed."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        ownership.adopt(self)

    def check(self) -> None:
        """Refuse what was freed, and other threads than the owner's."""
        self._ownership.check()
        if not self._ownership.has(self):
            raise MisuseError(f"{type(self).__name__} was freed already")

    def free(self) -> None:
        """Give it back, once."""
        self.check()
        if not self._ownership.is_broken:
            self._release()
        self._ownership.disown(self)

    def _release(self) -> None: ...
