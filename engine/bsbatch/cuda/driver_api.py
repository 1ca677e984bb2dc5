"""Direct calls of NVIDIA's driver library, for functions that pycuda lacks.

pycuda's events have no handle for other libraries, and a primary context that pycuda releases stays current.
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
        self._library = ctypes.CDLL(DRIVER_LIBRARY)

    def call(self, name: str, *arguments: object) -> bool:
        """Call a function, in a thread with a current context, with arguments as ctypes takes them.

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
        status: int = getattr(self._library, name)(*arguments)
        if status in (_SUCCESS, _NOT_READY):
            return status == _SUCCESS
        description = ctypes.c_char_p()
        self._library.cuGetErrorString(status, ctypes.byref(description))
        message = f"{name} failed: {(description.value or b'an unknown error').decode()}"
        raise MemoryError(message) if status == _OUT_OF_MEMORY else DeviceError(message)
