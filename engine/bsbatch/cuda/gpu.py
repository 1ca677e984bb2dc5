"""Which GPU is here, asked of the driver through pycuda, without memory on it; and which versions, asked of nobody."""

import ctypes
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bsbatch.errors import MissingPackageError, UsageError
from bsbatch.registry import installed_version

INSTALL = 'pip install "bsbatch[tensorrt]"'
_PACKAGES = ("pycuda", "tensorrt", "tensorrt-rtx", "onnxruntime-gpu")
_DRIVER = Path("/sys/module/nvidia/version")
"""Linux, where the driver is a module of the kernel; WSL has none."""
INTERFACE = "libcuda.so.1"
"""The driver's library, which pycuda and ONNX Runtime open."""
_WITHOUT_DRIVER = "install it, start a container with --gpus all, or go to a machine with a GPU"

_HALF_OPERATIONS = {"sm_75": 1024, "sm_80": 2048, "sm_86": 1024, "sm_89": 1024, "sm_90": 4096, "sm_120": 1024}
"""Of the tensor cores of a multiprocessor in a cycle, float16, dense: NVIDIA's papers on Turing, Ampere, Ada, Hopper
and Blackwell. A GeForce does half of them where sums are float32."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device as the driver describes it."""

    name: str
    """Of the model, for example ``NVIDIA H200``."""
    architecture: str
    """Its compute capability, for example ``sm_90``."""
    peak_flops: float | None = None
    """float16 operations in a second at its highest clock; None for an architecture that is not known."""

    @property
    def label(self) -> str:
        """Architecture and model as a part of a file name."""
        return f"{self.architecture}-{re.sub(r'[^A-Za-z0-9]+', '-', self.name).strip('-')}"


def gpu(index: int = 0) -> Gpu:
    """Describe a device.

    Raises
    ------
    MissingPackageError
        pycuda is not installed.
    UsageError
        There is no driver, or no such device.
    """
    try:
        driver = pycuda_driver()
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"pycuda is not installed: {INSTALL}") from error
    except ImportError as error:  # the driver's libcuda.so.1 is not there
        raise UsageError(f"there is no NVIDIA driver here ({error}): {_WITHOUT_DRIVER}") from error
    try:
        driver.init()
        return _described(driver.Device(index), driver.device_attribute)
    except driver.Error as error:
        raise UsageError(f"the NVIDIA driver gives no GPU {index} ({error}): look at nvidia-smi") from error


def pycuda_driver() -> Any:
    """Import pycuda's module of the driver; `ImportError` where there is no driver, or no pycuda.

    The driver's library is opened for all before: a pycuda that was built where there is none is not linked to it.
    """
    with suppress(OSError):
        ctypes.CDLL(INTERFACE, mode=ctypes.RTLD_GLOBAL)
    return import_module("pycuda.driver")


def why_not(interface: str = INTERFACE) -> str | None:
    """Say that there is no driver, and what to do; None where there is one. Asks for no GPU."""
    try:
        ctypes.CDLL(interface)
    except OSError:
        return f"there is no NVIDIA driver here: {_WITHOUT_DRIVER}"
    return None


def gpus() -> tuple[Gpu, ...]:
    """Describe all devices that this process may use; the errors are those of `gpu`."""
    first = gpu()
    driver = pycuda_driver()
    return (first, *(gpu(index) for index in range(1, driver.Device.count())))


def versions(driver: Path = _DRIVER) -> dict[str, str | None]:
    """Of the packages for GPUs and of NVIDIA's driver; None for what is not here. Imports none of them."""
    try:
        of_driver = driver.read_text(encoding="ascii").strip()
    except OSError:  # no driver, or another system
        of_driver = None
    return {name: installed_version(name) for name in _PACKAGES} | {"nvidia driver": of_driver}


def _described(device: Any, attributes: Any) -> Gpu:
    architecture = "sm_{}{}".format(*device.compute_capability())
    cores, kilohertz = (device.get_attribute(one) for one in (attributes.MULTIPROCESSOR_COUNT, attributes.CLOCK_RATE))
    operations = _HALF_OPERATIONS.get(architecture)
    return Gpu(device.name(), architecture, operations * cores * kilohertz * 1e3 if operations is not None else None)
