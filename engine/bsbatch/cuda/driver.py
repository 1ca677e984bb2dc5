"""A GPU through pycuda: implements `bsbatch.cuda.device`, with events and copies by direct driver calls.

The primary context is the one that TensorRT uses, too. It is retained once, made current in the thread that enters, and
released there: pycuda aborts a program whose thread ends with a current context.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Generic, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Array, DeviceError, Event, MisuseError, Ownership, Resource, Scalar
from bsbatch.cuda.driver_api import DriverApi
from bsbatch.cuda.gpu import import_pycuda_driver

_KERNELS = Path(__file__).parent / "kernels"
_BLOCKING_SYNC, _NO_FLAGS = 1, 0
"""Flags of ``cuEventCreate``: the host sleeps while it waits, by default it spins; and of ``cuStreamWaitEvent``."""


class CudaDevice:
    """One GPU, by its number in the driver."""

    def __init__(self, index: int) -> None:
        """Store the number; nothing is allocated before enter."""
        self.ownership = Ownership()
        self.driver: ModuleType
        """``pycuda.driver``, after enter."""
        self._index = index
        self._api: DriverApi
        self._context: Any = None

    def __enter__(self) -> Self:
        self.ownership.acquire()
        self.driver, self._api = import_pycuda_driver(), DriverApi()
        with self.translate_errors():
            self.driver.init()
            self._context = self.driver.Device(self._index).retain_primary_context()
            self._context.push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.ownership.release()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Release the context and leave none current; pycuda only drops it from its own list of current ones."""
        self._context.detach()  # its destructor would take it for a context that pycuda made
        self._context = None
        with suppress(DeviceError):  # of a device that failed before
            self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Check the thread, translate driver errors, mark the device broken after a fatal one."""
        self.ownership.check()
        try:
            yield
        except self.driver.MemoryError as error:
            raise MemoryError(str(error)) from error
        except self.driver.Error as error:
            self.ownership.is_broken = True
            raise DeviceError(str(error)) from error

    def call(self, name: str, *arguments: object, waits: bool = False) -> bool:
        """Call a driver function, see `DriverApi.call`; a `DeviceError` marks the device broken."""
        try:
            return self._api.call(name, *arguments, waits=waits)
        except DeviceError:
            self.ownership.is_broken = True
            raise

    def free_memory(self) -> int:
        """See `bsbatch.cuda.device.Device`."""
        with self.translate_errors():
            return int(self.driver.mem_get_info()[0])

    def allocate(self, size: int) -> "CudaMemory":
        """See `bsbatch.cuda.device.Device`."""
        with self.translate_errors():
            return CudaMemory(self, self.driver.mem_alloc(size))

    def pin(self, shape: tuple[int, ...], dtype: type[Scalar]) -> "CudaPinned[Scalar]":
        """See `bsbatch.cuda.device.Device`."""
        with self.translate_errors():
            flags = self.driver.host_alloc_flags.PORTABLE
            return CudaPinned(self, self.driver.pagelocked_empty(shape, dtype, mem_flags=flags))

    def stream(self) -> "CudaStream":
        """See `bsbatch.cuda.device.Device`."""
        with self.translate_errors():
            return CudaStream(self)

    def event(self) -> "CudaEvent":
        """See `bsbatch.cuda.device.Device`."""
        self.ownership.check()
        return CudaEvent(self)

    def kernel(self, name: str) -> Any:
        """See `bsbatch.cuda.device.Device`; the driver compiles the PTX to machine code."""
        with self.translate_errors():
            return self.driver.module_from_buffer((_KERNELS / f"{name}.ptx").read_bytes()).get_function(name)


class _Allocation(Protocol):
    """The methods of ``pycuda.driver.DeviceAllocation`` that are used here."""

    def __int__(self) -> int: ...

    def free(self) -> None: ...


class CudaMemory(Resource):
    """See `bsbatch.cuda.device.Memory`."""

    def __init__(self, device: CudaDevice, allocation: _Allocation) -> None:
        super().__init__(device.ownership)
        self._allocation = allocation

    @property
    def address(self) -> int:
        """See `bsbatch.cuda.device.Memory`."""
        self.check()
        return int(self._allocation)

    def _release(self) -> None:
        self._allocation.free()


class CudaPinned(Resource, Generic[Scalar]):
    """See `bsbatch.cuda.device.Pinned`."""

    def __init__(self, device: CudaDevice, array: NDArray[Scalar]) -> None:
        super().__init__(device.ownership)
        self._array = array

    @property
    def array(self) -> NDArray[Scalar]:
        """See `bsbatch.cuda.device.Pinned`."""
        self.check()
        return self._array

    def _release(self) -> None:
        allocation: Any = self._array.base
        allocation.free()


class CudaEvent(Resource):
    """See `bsbatch.cuda.device.Event`."""

    def __init__(self, device: CudaDevice) -> None:
        event = ctypes.c_void_p()
        device.call("cuEventCreate", ctypes.byref(event), _BLOCKING_SYNC)
        super().__init__(device.ownership)
        self._device, self._event = device, event

    @property
    def handle(self) -> int:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        return self._event.value or 0

    @property
    def is_done(self) -> bool:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        return self._device.call("cuEventQuery", self._event)

    def wait(self) -> None:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        self._device.call("cuEventSynchronize", self._event, waits=True)

    def seconds_since(self, earlier: Event) -> float:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        milliseconds = ctypes.c_float()
        first = ctypes.c_void_p(earlier.handle)
        self._device.call("cuEventElapsedTime", ctypes.byref(milliseconds), first, self._event)
        return milliseconds.value / 1000

    def _release(self) -> None:
        self._device.call("cuEventDestroy_v2", self._event)


class CudaStream(Resource):
    """See `bsbatch.cuda.device.Stream`."""

    def __init__(self, device: CudaDevice) -> None:
        super().__init__(device.ownership)
        self._device, self._stream = device, device.driver.Stream()
        self._handle = ctypes.c_void_p(int(self._stream.handle))

    @property
    def handle(self) -> int:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        return self._handle.value or 0

    def upload(self, array: Array, address: int) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        self._device.call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), *_memory(array), self._handle)

    def download(self, address: int, array: Array) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        target, size = _memory(array)
        self._device.call("cuMemcpyDtoHAsync_v2", target, ctypes.c_uint64(address), size, self._handle)

    def launch(self, kernel: Any, grid: tuple[int, int], arguments: Sequence[int]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        *addresses, number = arguments
        typed = (*(np.uint64(address) for address in addresses), np.uint32(number))
        with self._device.translate_errors():
            kernel(*typed, grid=(grid[0], 1), block=(grid[1], 1, 1), stream=self._stream)

    def record(self, event: Event) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call("cuEventRecord", ctypes.c_void_p(event.handle), ctypes.c_void_p(self.handle))

    def follow(self, event: Event) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call("cuStreamWaitEvent", ctypes.c_void_p(self.handle), ctypes.c_void_p(event.handle), _NO_FLAGS)

    def _release(self) -> None:
        with self._device.translate_errors():
            self._stream.synchronize()
        self._stream = None


def _memory(array: Array) -> tuple[ctypes.c_void_p, ctypes.c_size_t]:
    """Address and size of a contiguous array, in bytes."""
    if not array.flags.c_contiguous:
        raise MisuseError("a copy starts or ends in an array that is not contiguous")
    return ctypes.c_void_p(array.__array_interface__["data"][0]), ctypes.c_size_t(array.nbytes)
