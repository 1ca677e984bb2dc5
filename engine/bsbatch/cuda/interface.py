"""The driver's own library, called directly for what pycuda lacks.

Events of pycuda have no handle that another library could be given; a primary context that it releases stays current.
"""

import ctypes
from typing import Any

from bsbatch.cuda.device import DeviceError
from bsbatch.cuda.gpu import INTERFACE

_SUCCESS, _OUT_OF_MEMORY, _NOT_READY = 0, 2, 600
"""Of ``CUresult``."""


class Interface:
    """Calls of NVIDIA's CUDA Driver API, by their names in ``cuda.h``."""

    def __init__(self) -> None:
        """Open the library; `OSError` where there is none."""
        self._library = ctypes.CDLL(INTERFACE)

    def call(self, name: str, *arguments: Any) -> bool:
        """Make a call, in a thread whose context is current, with arguments as ctypes takes them.

        Returns
        -------
        bool
            False where the driver answers that something is not ready.

        Raises
        ------
        MemoryError
            There is not enough.
        DeviceError
            Any other failure, in the driver's words.
        """
        status: int = getattr(self._library, name)(*arguments)
        if status in (_SUCCESS, _NOT_READY):
            return status == _SUCCESS
        words = ctypes.c_char_p()
        self._library.cuGetErrorString(status, ctypes.byref(words))
        message = f"{name} failed: {(words.value or b'an unknown error').decode()}"
        raise MemoryError(message) if status == _OUT_OF_MEMORY else DeviceError(message)
