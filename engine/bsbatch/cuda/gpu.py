"""GPUs of this machine as the driver describes them, and versions of the packages for GPUs."""

import ctypes
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from bsbatch.errors import MissingPackageError, UsageError
from bsbatch.requirements import version_of

INSTALL = 'pip install "bsbatch[tensorrt]"'
ONNXRUNTIME_INSTALL = 'pip uninstall onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"'
_PACKAGES = ("pycuda", "tensorrt", "tensorrt-cu12", "tensorrt-rtx", "onnxruntime-gpu")
_DRIVER = Path("/sys/module/nvidia/version")
"""Version of the driver's kernel module on Linux; WSL has none."""
DRIVER_LIBRARY = "libcuda.so.1"
"""The driver's library, which pycuda and ONNX Runtime open."""
_REBUILD = "build it again on this machine: pip install --force-reinstall --no-cache-dir --no-deps pycuda"
_ADVICE = "install it, start a container with --gpus all, or go to a machine with a GPU"

_HALF_OPERATIONS = {
    "sm_75": 1024,
    "sm_80": 2048,
    "sm_86": 1024,
    "sm_87": 2048,
    "sm_89": 1024,
    "sm_90": 4096,
    "sm_100": 8192,
    "sm_103": 8192,
    "sm_120": 1024,
    "sm_121": 1024,
}
"""Dense float16 operations of a multiprocessor's tensor cores in a cycle, by architecture.

From NVIDIA's papers on Turing, Ampere, Ada, Hopper and Blackwell. A GeForce does half of them if sums are float32.
Those of Orin, B200, B300 and GB10 (sm_87, 100, 103, 121) follow from data sheets: operations in a second divided by
multiprocessors and clock.
"""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver describes it."""

    name: str
    """Name of the model, for example ``NVIDIA H200``."""
    architecture: str
    """Compute capability, for example ``sm_90``."""
    peak_flops: float | None = None
    """float16 operations in a second at the highest clock; None for an unknown architecture."""

    @property
    def label(self) -> str:
        """Architecture and model, for file names."""
        return f"{self.architecture}-{re.sub(r'[^A-Za-z0-9]+', '-', self.name).strip('-')}"


def gpu(index: int = 0) -> Gpu:
    """Describe a GPU; allocates no memory on it.

    Raises
    ------
    MissingPackageError
        pycuda is not installed, or a library that it is linked to is missing.
    UsageError
        There is no driver, or no such GPU.
    """
    try:
        driver = import_pycuda_driver()
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"pycuda is not installed: {INSTALL}") from error
    except ImportError as error:
        problem = driver_problem()
        if problem is not None:
            raise UsageError(problem) from error
        raise MissingPackageError(f"pycuda cannot be loaded ({error}): {_REBUILD}") from error
    try:
        driver.init()
        return _describe(driver, index)
    except driver.Error as error:
        raise UsageError(f"the NVIDIA driver gives no GPU {index} ({error}): look at nvidia-smi") from error


def import_pycuda_driver() -> ModuleType:
    """Import ``pycuda.driver``; raises `ImportError` if there is no driver or no pycuda.

    Loads the driver's library first, with global symbols: a pycuda built without the driver is not linked to it.
    """
    with suppress(OSError):
        ctypes.CDLL(DRIVER_LIBRARY, mode=ctypes.RTLD_GLOBAL)
    return import_module("pycuda.driver")


def driver_problem(library: str = DRIVER_LIBRARY) -> str | None:
    """Return a message with advice if there is no driver, else None; looks for no GPU."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"there is no NVIDIA driver here: {_ADVICE}"
    return None


def gpus() -> tuple[Gpu, ...]:
    """Describe all GPUs that this process may use; raises as `gpu` does."""
    first = gpu()
    driver = import_pycuda_driver()
    return (first, *(gpu(index) for index in range(1, driver.Device.count())))


def versions(driver: Path = _DRIVER) -> dict[str, str | None]:
    """Return versions of the packages for GPUs and of NVIDIA's driver, None for missing ones; imports none of them."""
    try:
        driver_version = driver.read_text(encoding="ascii").strip()
    except OSError:  # no driver, or another system
        driver_version = None
    return {name: version_of(name) for name in _PACKAGES} | {"nvidia driver": driver_version}


def _describe(driver: ModuleType, index: int) -> Gpu:
    device, attributes = driver.Device(index), driver.device_attribute
    architecture = "sm_{}{}".format(*device.compute_capability())
    cores, kilohertz = (device.get_attribute(one) for one in (attributes.MULTIPROCESSOR_COUNT, attributes.CLOCK_RATE))
    operations = _HALF_OPERATIONS.get(architecture)
    return Gpu(device.name(), architecture, operations * cores * kilohertz * 1e3 if operations is not None else None)
