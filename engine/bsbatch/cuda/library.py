"""TensorRT and TensorRT-RTX: one API in two libraries, and all in which they differ. Light, for the command line.

TensorRT (10 and 11) times kernels on the GPU that is there, for which alone the engine is. TensorRT-RTX compiles ahead
of time, without a GPU, for a named architecture.
"""

from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bsbatch.cuda.gpu import INSTALL, Gpu, gpu
from bsbatch.cuda.gpu import why_not as gpu_why_not
from bsbatch.errors import MissingPackageError, UsageError


class Flavour(StrEnum):
    """Which of the two libraries."""

    TENSORRT = "tensorrt"
    RTX = "rtx"


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two libraries."""

    module: str
    """Its import name."""
    extra: str
    """What of bsbatch installs it."""
    is_ahead: bool
    """Whether it compiles for GPUs that are not here; it times no kernels then, so there are no timings to keep."""
    without_products: frozenset[str] = frozenset()
    """Architectures that it has no float32 matrix product for."""

    @property
    def missing(self) -> str | None:
        """The install line where the library is not here, else None; imports nothing."""
        return None if find_spec(self.module) else f'pip install "bsbatch[{self.extra}]"'

    def load(self) -> Any:
        """Import the library.

        Raises
        ------
        MissingPackageError
            It, or a part of it, is not installed.
        """
        if self.missing:
            raise MissingPackageError(f"{self.module} is not installed: {self.missing}")
        try:
            return import_module(self.module)
        except (ImportError, OSError) as error:  # bindings without their libraries
            line = f'pip install --force-reinstall "bsbatch[{self.extra}]"'
            raise MissingPackageError(f"{self.module} cannot be loaded ({error}): {line}") from error

    def targets(self, library: Any, wanted: Sequence[str]) -> tuple[str, ...]:
        """What to compile for: architectures, or the GPU that is here.

        Parameters
        ----------
        library
            See `load`.
        wanted
            Names such as ``sm_89``; empty for all that the library knows.

        Raises
        ------
        UsageError
            It does not compile for one of them, or there is no GPU.
        """
        if not self.is_ahead:
            if wanted:
                raise UsageError(f"{self.module} compiles for the GPU that is here: leave --arch out")
            return (self.target_of(gpu()),)
        offered = architectures(library)
        unknown = sorted(set(wanted) - set(offered))
        if unknown:
            raise UsageError(
                f"{self.module} {library.__version__} does not compile for {', '.join(unknown)}: "
                f"give --arch out of {', '.join(offered)}"
            )
        return tuple(wanted) or offered

    def target_of(self, here: Gpu) -> str:
        """Which of `targets` a GPU needs."""
        return here.architecture if self.is_ahead else here.label

    def aim(self, library: Any, config: Any, target: str) -> None:
        """Have an ``IBuilderConfig`` compile for one of `targets`."""
        if self.is_ahead:
            config.num_compute_capabilities = 1
            config.set_compute_capability(library.ComputeCapability.__members__[_member(target)], 0)


LIBRARIES = {
    Flavour.TENSORRT: Library("tensorrt", "tensorrt", is_ahead=False),
    # "FP32 GEMM is not supported" for Turing, seen with 1.7.1
    Flavour.RTX: Library("tensorrt_rtx", "rtx", is_ahead=True, without_products=frozenset({"sm_75"})),
}
"""TensorRT first: it is the faster one where both are."""


def installed() -> Flavour | None:
    """The first library that is here; imports none."""
    return next((flavour for flavour, library in LIBRARIES.items() if library.missing is None), None)


def why_not() -> str | None:
    """Say what the backend ``tensorrt`` lacks here beside pycuda, and what to do; imports no library."""
    if installed() is None:
        return f"neither {' nor '.join(library.module for library in LIBRARIES.values())} is here: {INSTALL}"
    return gpu_why_not()


def nvinfer_why_not() -> str | None:
    """Say that TensorRT's own library is not here, for who needs no more of it, and what to do."""
    if find_spec("tensorrt") is None and find_library("nvinfer") is None:
        return "libnvinfer, TensorRT's library, is not here: pip install tensorrt"
    return gpu_why_not()


def architectures(library: Any) -> tuple[str, ...]:
    """Names of all architectures that TensorRT-RTX compiles for, for example ``sm_89``."""
    names = library.ComputeCapability.__members__
    return tuple(name.lower().replace("sm", "sm_") for name in names if name.startswith("SM"))


def _member(target: str) -> str:
    return target.upper().replace("_", "")
