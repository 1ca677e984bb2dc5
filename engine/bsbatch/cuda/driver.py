"""A GPU through pycuda, with the rules of `bsbatch.cuda.device`; events by the driver's own calls.

The primary context is the one that TensorRT uses, too. It is retained once, made current in the thread that enters, and
released there: pycuda ends a program whose thread ends with a context still current.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bsbatch.cuda.device import DeviceError, Owned, Ownership
from bsbatch.cuda.gpu import pycuda_driver
from bsbatch.cuda.interface import Interface

_KERNELS = Path(__file__).parent / "kernels"
_TIMED = _NO_FLAGS = 0
"""``CU_EVENT_DEFAULT``; and what ``cuStreamWaitEvent`` takes."""


class CudaDevice:
    """One GPU, by the driver's number of it."""

    def __init__(self, index: int) -> None:
        """Touch nothing yet."""
        self.ownership = Ownership()
        self._index = index
        self._driver: Any = None
        self._interface: Interface
        self._context: Any = None

    def __enter__(self) -> Self:
        self.ownership.begin()
        self._driver, self._interface = pycuda_driver(), Interface()
        with self.told():
            self._driver.init()
            self._context = self._driver.Device(self._index).retain_primary_context()
            self._context.push()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.ownership.end()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Release the context and have none current; pycuda only drops it from its own list of those that are."""
        self._context.detach()  # its destructor would take it for one that pycuda made
        self._context = None
        with suppress(DeviceError):  # of a device that failed before
            self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    @contextmanager
    def told(self) -> Iterator[None]:
        """Refuse who may not use it; give the driver's errors as ours, and remember one after which nothing works."""
        self.ownership.check()
        try:
            yield
        except self._driver.MemoryError as error:
            raise MemoryError(str(error)) from error
        except self._driver.Error as error:
            self.ownership.is_broken = True
            raise DeviceError(str(error)) from error

    def call(self, name: str, *arguments: Any) -> bool:
        """See `bsbatch.cuda.interface.Interface.call`; after a `DeviceError` nothing works, which is remembered."""
        try:
            return self._interface.call(name, *arguments)
        except DeviceError:
            self.ownership.is_broken = True
            raise

    def free_memory(self) -> int:
        """See `bsbatch.cuda.device.Device`."""
        with self.told():
            return int(self._driver.mem_get_info()[0])

    def allocate(self, size: int) -> "CudaMemory":
        """See `bsbatch.cuda.device.Device`."""
        with self.told():
            return CudaMemory(self, self._driver.mem_alloc(size), size)

    def pin(self, shape: tuple[int, ...], dtype: DTypeLike) -> "CudaPinned":
        """See `bsbatch.cuda.device.Device`."""
        with self.told():
            flags = self._driver.host_alloc_flags.PORTABLE
            return CudaPinned(self, self._driver.pagelocked_empty(shape, dtype, mem_flags=flags))

    def stream(self) -> "CudaStream":
        """See `bsbatch.cuda.device.Device`."""
        with self.told():
            return CudaStream(self, self._driver)

    def event(self) -> "CudaEvent":
        """See `bsbatch.cuda.device.Device`."""
        self.ownership.check()
        return CudaEvent(self)

    def kernel(self, name: str) -> Any:
        """See `bsbatch.cuda.device.Device`; the driver makes machine code of the PTX."""
        with self.told():
            return self._driver.module_from_buffer((_KERNELS / f"{name}.ptx").read_bytes()).get_function(name)


class CudaMemory(Owned):
    """See `bsbatch.cuda.device.Memory`."""

    def __init__(self, device: CudaDevice, allocation: Any, size: int) -> None:
        super().__init__(device.ownership)
        self._allocation, self.size = allocation, size

    @property
    def address(self) -> int:
        """Where it begins."""
        self.check()
        return int(self._allocation)

    def _release(self) -> None:
        self._allocation.free()


class CudaPinned(Owned):
    """See `bsbatch.cuda.device.Pinned`."""

    def __init__(self, device: CudaDevice, array: NDArray[Any]) -> None:
        super().__init__(device.ownership)
        self._array = array

    @property
    def array(self) -> NDArray[Any]:
        """The memory."""
        self.check()
        return self._array

    def _release(self) -> None:
        allocation: Any = self._array.base
        allocation.free()


class CudaEvent(Owned):
    """See `bsbatch.cuda.device.Event`."""

    def __init__(self, device: CudaDevice) -> None:
        event = ctypes.c_void_p()
        device.call("cuEventCreate", ctypes.byref(event), _TIMED)
        super().__init__(device.ownership)
        self._device, self._event = device, event

    @property
    def handle(self) -> int:
        """The driver's ``CUevent``."""
        self.check()
        return self._event.value or 0

    @property
    def is_done(self) -> bool:
        """Whether the device has come to it."""
        self.check()
        return self._device.call("cuEventQuery", self._event)

    def wait(self) -> None:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        self._device.call("cuEventSynchronize", self._event)

    def seconds_since(self, earlier: "CudaEvent") -> float:
        """See `bsbatch.cuda.device.Event`."""
        self.check()
        milliseconds = ctypes.c_float()
        first = ctypes.c_void_p(earlier.handle)
        self._device.call("cuEventElapsedTime", ctypes.byref(milliseconds), first, self._event)
        return milliseconds.value / 1000

    def _release(self) -> None:
        self._device.call("cuEventDestroy_v2", self._event)


class CudaStream(Owned):
    """See `bsbatch.cuda.device.Stream`."""

    def __init__(self, device: CudaDevice, driver: Any) -> None:
        super().__init__(device.ownership)
        self._device, self._driver, self._stream = device, driver, driver.Stream()

    @property
    def handle(self) -> int:
        """The driver's ``CUstream``."""
        self.check()
        return int(self._stream.handle)

    def upload(self, array: NDArray[Any], address: int) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        with self._device.told():
            self._driver.memcpy_htod_async(address, array, self._stream)

    def download(self, address: int, array: NDArray[Any]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        with self._device.told():
            self._driver.memcpy_dtoh_async(array, address, self._stream)

    def launch(self, kernel: Any, grid: tuple[int, int], arguments: Sequence[int]) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self.check()
        *addresses, number = arguments
        typed = (*(np.uint64(address) for address in addresses), np.uint32(number))
        with self._device.told():
            kernel(*typed, grid=(grid[0], 1), block=(grid[1], 1, 1), stream=self._stream)

    def record(self, event: CudaEvent) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call("cuEventRecord", ctypes.c_void_p(event.handle), ctypes.c_void_p(self.handle))

    def follow(self, event: CudaEvent) -> None:
        """See `bsbatch.cuda.device.Stream`."""
        self._device.call("cuStreamWaitEvent", ctypes.c_void_p(self.handle), ctypes.c_void_p(event.handle), _NO_FLAGS)

    def _release(self) -> None:
        with self._device.told():
            self._stream.synchronize()
        self._stream = None
