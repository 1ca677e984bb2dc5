"""TensorRT and TensorRT-RTX: everything in which the two libraries with one API differ.

TensorRT (10 and 11) times kernels on the GPU of this machine, and its engine is for that model of GPU alone.
TensorRT-RTX compiles ahead of time, without a GPU, for a named architecture. Light, for the command line.
"""

import logging
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

from bsbatch.cuda.gpu import INSTALL, Gpu, driver_problem, gpu
from bsbatch.errors import MissingPackageError, UsageError

logger = logging.getLogger(__name__)

LARGEST_BATCH = 127
"""Images in a batch of TensorRT at most.

The first convolution of the paper's network has 64 x 512 x 512 values for each image, so 2^31 for 128 images. TensorRT
counts the values of a tensor with 32 bits and fails beyond (NVIDIA/TensorRT, issue 4123).
"""


class Flavour(StrEnum):
    """Names of the two libraries."""

    TENSORRT = "tensorrt"
    RTX = "rtx"


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries."""

    module: str
    """Import name."""
    extra: str
    """The extra of bsbatch that installs it."""
    is_ahead_of_time: bool
    """True if it compiles for GPUs of other machines; it times no kernels then, so there are no timings to keep."""
    without_float32_matmul: frozenset[str] = frozenset()
    """Architectures for which it has no float32 matrix product."""

    @property
    def missing(self) -> str | None:
        """The install line if the library is not installed, else None; imports nothing."""
        return None if find_spec(self.module) else f'pip install "bsbatch[{self.extra}]"'

    def load(self) -> ModuleType:
        """Import the library.

        Raises
        ------
        MissingPackageError
            The library, or a part of it, is not installed.
        """
        if self.missing:
            raise MissingPackageError(f"{self.module} is not installed: {self.missing}")
        try:
            return import_module(self.module)
        except (ImportError, OSError) as error:  # bindings without their libraries
            line = f'pip install --force-reinstall "bsbatch[{self.extra}]"'
            raise MissingPackageError(f"{self.module} cannot be loaded ({error}): {line}") from error

    def targets(self, loaded: ModuleType, wanted: Sequence[str]) -> tuple[str, ...]:
        """Return the targets to compile for: architectures, or the GPU of this machine.

        Parameters
        ----------
        loaded
            See `load`.
        wanted
            Names such as ``sm_89``; empty for all that the library knows.

        Raises
        ------
        UsageError
            The library does not compile for one of them, or there is no GPU.
        """
        if not self.is_ahead_of_time:
            if wanted:
                raise UsageError(f"{self.module} compiles for the GPU of this machine: leave --arch out")
            return (self.target_of(gpu()),)
        offered = architectures(loaded)
        unknown = sorted(set(wanted) - set(offered))
        if unknown:
            raise UsageError(
                f"{self.module} {loaded.__version__} does not compile for {', '.join(unknown)}: "
                f"give --arch out of {', '.join(offered)}"
            )
        return tuple(wanted) or offered

    def target_of(self, device: Gpu) -> str:
        """Return the target among `targets` that a GPU needs."""
        return device.architecture if self.is_ahead_of_time else device.label

    def set_target(self, loaded: ModuleType, config: Any, target: str) -> None:
        """Set an ``IBuilderConfig`` to compile for one of `targets`."""
        if self.is_ahead_of_time:
            config.num_compute_capabilities = 1
            config.set_compute_capability(loaded.ComputeCapability.__members__[_member(target)], 0)


LIBRARIES = {
    Flavour.TENSORRT: Library("tensorrt", "tensorrt", is_ahead_of_time=False),
    # "FP32 GEMM is not supported" on Turing, seen with 1.7.1
    Flavour.RTX: Library("tensorrt_rtx", "rtx", is_ahead_of_time=True, without_float32_matmul=frozenset({"sm_75"})),
}
"""In order of preference: TensorRT is the faster one if both are installed."""


def available_flavour() -> Flavour | None:
    """Return the first installed library, else None; imports none."""
    return next((flavour for flavour, library in LIBRARIES.items() if library.missing is None), None)


def tensorrt_problem() -> str | None:
    """Return a message if the backend ``tensorrt`` misses anything but pycuda here, else None; imports no library."""
    if available_flavour() is None:
        return f"neither {' nor '.join(library.module for library in LIBRARIES.values())} is installed: {INSTALL}"
    return driver_problem()


def nvinfer_problem() -> str | None:
    """Return a message if ``libnvinfer``, which ONNX Runtime's TensorRT provider loads, or the driver is missing."""
    if find_spec("tensorrt") is None and find_library("nvinfer") is None:
        return "libnvinfer, TensorRT's library, is not installed: pip install tensorrt"
    return driver_problem()


def architectures(loaded: ModuleType) -> tuple[str, ...]:
    """Return the names of all architectures that TensorRT-RTX compiles for, for example ``sm_89``."""
    names = loaded.ComputeCapability.__members__
    return tuple(name.lower().replace("sm", "sm_") for name in names if name.startswith("SM"))


class LibraryLogger(Protocol):
    """The logger of a library, for its builders, parsers and runtimes."""

    last: str
    """The last error that the library reported, in its own words."""


@cache
def logger_of(loaded: ModuleType) -> LibraryLogger:
    """Return the logger of a library, one in a process: TensorRT reports to the first that it gets."""
    interface: Any = loaded.ILogger

    class Logger(interface):  # type: ignore[misc]  # its class is known when the library is loaded
        """Forwards messages of the library to `logging` and remembers its last error."""

        def __init__(self) -> None:
            interface.__init__(self)
            self.last = "it gives no reason"

        def log(self, severity: Any, message: str) -> None:
            if severity <= interface.ERROR:
                self.last = message
            logger.debug("%s: %s", severity, message)

    return Logger()


def _member(target: str) -> str:
    return target.upper().replace("_", "")
