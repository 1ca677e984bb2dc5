"""The two libraries, as far as they differ, on stand-ins that have the names and no GPU."""

import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bsbatch.cuda import gpu as asking
from bsbatch.cuda import library as libraries
from bsbatch.cuda.gpu import gpu, versions
from bsbatch.cuda.library import LIBRARIES, Flavour, architectures, installed
from bsbatch.errors import MissingPackageError, UsageError

RTX, TENSORRT = LIBRARIES[Flavour.RTX], LIBRARIES[Flavour.TENSORRT]


class ComputeCapability(Enum):
    """The members of TensorRT-RTX 1.7."""

    NONE = 0
    CURRENT = 1
    SM75 = 75
    SM89 = 89
    SM120 = 120


LOADED = SimpleNamespace(__version__="1.7.1", ComputeCapability=ComputeCapability)


ATTRIBUTES = {"multiprocessors": 132, "kilohertz": 1_830_000}


class Driver(ModuleType):
    """pycuda.driver, as far as it is asked."""

    class Error(Exception):
        """Of the driver."""

    def __init__(self, devices: int) -> None:
        super().__init__("pycuda.driver")
        self._devices = devices
        self.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT="multiprocessors", CLOCK_RATE="kilohertz")

    def init(self) -> None: ...

    def Device(self, index: int) -> Any:  # noqa: N802 - pycuda's name
        if index >= self._devices:
            raise Driver.Error("cuDeviceGet failed: invalid device ordinal")
        return SimpleNamespace(
            name=lambda: "NVIDIA H200 (rev. 2)", compute_capability=lambda: (9, 0), get_attribute=ATTRIBUTES.get
        )


def has(monkeypatch: pytest.MonkeyPatch, driver: ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


def test_rtx_compiles_for_all_it_knows_or_for_what_is_asked() -> None:
    assert architectures(LOADED) == ("sm_75", "sm_89", "sm_120")
    assert RTX.targets(LOADED, ()) == ("sm_75", "sm_89", "sm_120")
    assert RTX.targets(LOADED, ("sm_120",)) == ("sm_120",)


def test_an_architecture_that_rtx_does_not_know_is_refused_with_those_it_does() -> None:
    with pytest.raises(UsageError, match=r"tensorrt_rtx 1\.7\.1 does not compile for sm_90: .* sm_75, sm_89, sm_120"):
        RTX.targets(LOADED, ("sm_89", "sm_90"))


def test_rtx_is_aimed_at_one_architecture() -> None:
    aimed: list[tuple[Any, int]] = []
    config = SimpleNamespace(set_compute_capability=lambda *arguments: aimed.append(arguments))
    RTX.aim(LOADED, config, "sm_120")
    assert config.num_compute_capabilities == 1
    assert aimed == [(ComputeCapability.SM120, 0)]


def test_tensorrt_compiles_for_the_gpu_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, Driver(1))
    assert TENSORRT.targets(LOADED, ()) == ("sm_90-NVIDIA-H200-rev-2",)
    with pytest.raises(UsageError, match="leave --arch out"):
        TENSORRT.targets(LOADED, ("sm_90",))


def test_a_gpu_is_described_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, Driver(1))
    assert (gpu().name, gpu().architecture) == ("NVIDIA H200 (rev. 2)", "sm_90")
    assert gpu().peak_flops == pytest.approx(989e12, rel=1e-3)  # of the data sheet, at that clock
    with pytest.raises(UsageError, match="gives no GPU 1"):
        gpu(1)


def test_without_pycuda_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, None)
    with pytest.raises(MissingPackageError, match=r'pip install "bsbatch\[tensorrt\]"'):
        gpu()


def test_without_a_driver_a_gpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(asking, "import_module", fail)
    with pytest.raises(UsageError, match="there is no NVIDIA driver here"):
        gpu()


def test_a_driver_is_looked_for_without_a_gpu() -> None:
    assert asking.why_not(interface="libc.so.6") is None
    assert "start a container with --gpus all" in (asking.why_not(interface="libno-such-driver.so.1") or "")


def test_the_backend_says_which_of_its_parts_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "gpu_why_not", lambda: "no driver")
    monkeypatch.setattr(libraries, "find_spec", lambda module: module == "tensorrt_rtx" or None)
    assert libraries.why_not() == "no driver"
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    assert libraries.why_not() == 'neither tensorrt nor tensorrt_rtx is here: pip install "bsbatch[tensorrt]"'


def test_who_needs_tensorrts_own_library_alone_is_told_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "gpu_why_not", lambda: "no driver")
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    monkeypatch.setattr(libraries, "find_library", {"nvinfer": "libnvinfer.so.10"}.get)
    assert libraries.nvinfer_why_not() == "no driver"
    monkeypatch.setattr(libraries, "find_library", lambda _: None)
    assert "pip install tensorrt" in (libraries.nvinfer_why_not() or "")


def test_a_missing_library_answers_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    assert installed() is None
    for flavour, library in LIBRARIES.items():
        with pytest.raises(MissingPackageError, match=rf'pip install "bsbatch\[{flavour}\]"'):
            library.load()


def test_bindings_without_their_libraries_are_told_apart_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(libraries, "find_spec", lambda _: object())
    monkeypatch.setattr(libraries, "import_module", fail)
    with pytest.raises(MissingPackageError, match=r"cannot be loaded \(libnvinfer\.so\.11.*--force-reinstall"):
        TENSORRT.load()


def test_tensorrt_is_taken_before_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: object())
    assert installed() is Flavour.TENSORRT
    monkeypatch.setattr(libraries, "find_spec", lambda name: object() if name == "tensorrt_rtx" else None)
    assert installed() is Flavour.RTX


def test_versions_are_those_of_what_is_here_and_none_of_what_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(asking, "installed_version", {"tensorrt": "11.4.0"}.get)
    packages = {"pycuda": None, "tensorrt": "11.4.0", "tensorrt-rtx": None, "onnxruntime-gpu": None}
    assert versions(tmp_path / "version") == packages | {"nvidia driver": None}
    (tmp_path / "version").write_text("580.95.05\n")
    assert versions(tmp_path / "version") == packages | {"nvidia driver": "580.95.05"}
