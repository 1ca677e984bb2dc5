"""Parts by name, ``"module:Class"``: a heavy package loads when it is used, a missing one says how to get it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bsbatch.errors import MissingPackageError


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is loaded by name."""

    target: str
    """``module:attribute``."""
    package: str | None = None
    """The import name of the package that it needs."""
    install: str = "pip install bsbatch"
    """The line that installs that package."""
    distribution: str | None = None
    """What the package must have come with, where several distributions bring one of its name."""
    asked: str | None = None
    """``module:function`` that says what else is missing here, and what to do, or None; light."""

    @property
    def missing(self) -> str | None:
        """The install line where the package is not here, else None; imports nothing."""
        is_here = self.package is None or find_spec(self.package) is not None
        is_right = self.distribution is None or installed_version(self.distribution) is not None
        return None if is_here and is_right else self.install

    @property
    def why_not(self) -> str | None:
        """Why the part does not work here, and what to do, else None; imports none of what it needs."""
        if self.missing:
            return f"{self.distribution or self.package} is missing: {self.missing}"
        return load(self.asked)() if self.asked else None

    def load(self) -> Any:
        """Import the part.

        Raises
        ------
        MissingPackageError
            Its package is not installed.
        """
        if self.missing:
            raise MissingPackageError(f"{self.distribution or self.package} is not installed: {self.missing}")
        return load(self.target)


def load(target: str) -> Any:
    """Import ``module:attribute``."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


_ONNXRUNTIME_GPU = 'pip uninstall onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"'
BACKENDS = {
    "tensorrt": Part(
        "bsbatch.backends.tensorrt:TensorRtBackend",
        "pycuda",
        'pip install "bsbatch[tensorrt]"',
        asked="bsbatch.cuda.library:tensorrt_problem",
    ),
    "onnxruntime:tensorrt": Part(
        "bsbatch.backends.onnxruntime_gpu:OnnxRuntimeTensorRtBackend",
        "onnxruntime",
        _ONNXRUNTIME_GPU,
        "onnxruntime-gpu",
        asked="bsbatch.cuda.library:nvinfer_problem",
    ),
    "onnxruntime:cuda": Part(
        "bsbatch.backends.onnxruntime_gpu:OnnxRuntimeCudaBackend",
        "onnxruntime",
        _ONNXRUNTIME_GPU,
        "onnxruntime-gpu",
        asked="bsbatch.cuda.gpu:driver_problem",
    ),
    "winograd": Part(
        "bsbatch.backends.winograd:WinogradBackend",
        "bsbatch.native.libviews",
        "install a C compiler, then pip install --force-reinstall --no-deps bsbatch",
    ),
    "mnn": Part("bsbatch.backends.mnn:MnnBackend", "MNN", "pip install MNN"),
    "onnxruntime": Part("bsbatch.backends.onnxruntime:OnnxRuntimeBackend", "onnxruntime"),
    "fake": Part("bsbatch.backends.fake:FakeBackend"),
}
"""Backends; `bsbatch.run.autotune` tells which is the fastest."""

CAMS = {"keras": Part("bsbatch.backends.keras_cams:KerasCams", "tensorflow", 'pip install "bsbatch[keras]"')}
"""What computes heat maps beside a backend."""

CODECS = {
    "JPEG Lossless, JPEG 2000, JPEG-LS (GDCM)": Part("gdcm", "gdcm", 'pip install "bsbatch[codecs]"'),
    "JPEG 2000 (OpenJPEG)": Part("openjpeg", "openjpeg", 'pip install "bsbatch[codecs]"'),
    "JPEG-LS (CharLS)": Part("jpeg_ls", "jpeg_ls", 'pip install "bsbatch[codecs]"'),
}
"""Optional decoders that pydicom uses where they are installed."""

PHANTOMS = {
    "plan": Part("bsbatch_build.phantom.plan:SetPlan", "bsbatch_build"),
    "write": Part("bsbatch_build.phantom.archive:write_set", "bsbatch_build"),
}
"""What ``bsbatch demo`` makes its archive with; the engine imports nothing of the build tools."""


def require(package: str, *, extra: str) -> None:
    """Check that an optional package is installed; imports nothing.

    Parameters
    ----------
    package
        Its import name.
    extra
        The extra of bsbatch that installs it.

    Raises
    ------
    MissingPackageError
        It is not installed; the message holds the install line.
    """
    if find_spec(package) is None:
        raise MissingPackageError(f'{package} is not installed: pip install "bsbatch[{extra}]"')


def usable(parts: Mapping[str, Part], *, excluded: str) -> list[str]:
    """The names of the parts that work here.

    Raises
    ------
    MissingPackageError
        There is none; the message says why not, and holds the install lines.
    """
    names = [name for name, part in parts.items() if name != excluded and part.why_not is None]
    if not names:
        lines = "; ".join(f"{name}: {part.why_not}" for name, part in parts.items() if name != excluded)
        raise MissingPackageError(f"no backend works here. {lines}")
    return names


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, None where it is not here."""
    metadata = import_module("importlib.metadata")  # brings the whole of email, and --help needs none of it
    try:
        return str(metadata.version(distribution))
    except metadata.PackageNotFoundError:
        return None
