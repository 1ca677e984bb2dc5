"""Direct calls of NVIDIA's driver library, for functions that pycuda lacks, or that it calls too expensively.

pycuda's events have no handle for other libraries, and a primary context that pycuda releases stays current. pycuda
lets go of the interpreter lock in every call, and waits for it behind the threads that read: seventy times a batch, for
calls of a microsecond each.
"""

import ctypes

from bsbatch.cuda.device import DeviceError
from bsbatch.cuda.gpu import DRIVER_LIBRARY

_SUCCESS, _OUT_OF_MEMORY, _NOT_READY = 0, 2, 600
"""Values of ``CUresult``."""


class DriverApi:
    """NVIDIA's CUDA Driver API; functions are called by their names in ``cuda.h``."""

    def __init__(self) -> None:
        """Open the library; raises `OSError` if there is none."""
        self._library, self._waiting_library = ctypes.PyDLL(DRIVER_LIBRARY), ctypes.CDLL(DRIVER_LIBRARY)

    def call(self, name: str, *arguments: object, waits: bool = False) -> bool:
        """Call a function, in a thread with a current context, with arguments as ctypes takes them.

        Parameters
        ----------
        name, arguments
            The function and its arguments.
        waits
            True for a function that waits for the device: it lets go of the interpreter lock.

        Returns
        -------
        bool
            False if the driver answers "not ready".

        Raises
        ------
        MemoryError
            There is not enough memory.
        DeviceError
            Any other failure, with the driver's message.
        """
        status: int = getattr(self._waiting_library if waits else self._library, name)(*arguments)
        if status in (_SUCCESS, _NOT_READY):
            return status == _SUCCESS
        description = ctypes.c_char_p()
        self._library.cuGetErrorString(status, ctypes.byref(description))
        message = f"{name} failed: {(description.value or b'an unknown error').decode()}"
        raise MemoryError(message) if status == _OUT_OF_MEMORY else DeviceError(message)
