"""The differences of the two libraries, on stand-ins with their names and without a GPU."""

import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bsbatch.cuda import gpu as gpu_module
from bsbatch.cuda import library as libraries
from bsbatch.cuda.gpu import gpu, versions
from bsbatch.cuda.library import LIBRARIES, Flavour, architectures, available_flavour
from bsbatch.errors import MissingPackageError, UsageError

RTX, TENSORRT = LIBRARIES[Flavour.RTX], LIBRARIES[Flavour.TENSORRT]


class ComputeCapability(Enum):
    """The members of TensorRT-RTX 1.7."""

    NONE = 0
    CURRENT = 1
    SM75 = 75
    SM89 = 89
    SM120 = 120


class Rtx(ModuleType):
    """tensorrt_rtx, with the names that are used."""

    __version__ = "1.7.1"
    ComputeCapability = ComputeCapability


LOADED = Rtx("tensorrt_rtx")


ATTRIBUTES = {"multiprocessors": 132, "kilohertz": 1_830_000}


class Driver(ModuleType):
    """pycuda.driver, with the names that are used."""

    class Error(Exception):
        """An error of the driver."""

    def __init__(
        self, devices: int, capability: tuple[int, int] = (9, 0), attributes: dict[str, int] = ATTRIBUTES
    ) -> None:
        super().__init__("pycuda.driver")
        self._devices, self._capability, self._attributes = devices, capability, attributes
        self.device_attribute = SimpleNamespace(MULTIPROCESSOR_COUNT="multiprocessors", CLOCK_RATE="kilohertz")

    def init(self) -> None: ...

    def Device(self, index: int) -> SimpleNamespace:  # noqa: N802 - pycuda's name
        if index >= self._devices:
            raise Driver.Error("cuDeviceGet failed: invalid device ordinal")
        return SimpleNamespace(
            name=lambda: "NVIDIA H200 (rev. 2)",
            compute_capability=lambda: self._capability,
            get_attribute=self._attributes.get,
        )


def install_driver(monkeypatch: pytest.MonkeyPatch, driver: ModuleType | None) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)


def test_rtx_compiles_for_all_architectures_or_for_those_named() -> None:
    assert architectures(LOADED) == ("sm_75", "sm_89", "sm_120")
    assert RTX.targets(LOADED, ()) == ("sm_75", "sm_89", "sm_120")
    assert RTX.targets(LOADED, ("sm_120",)) == ("sm_120",)


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"tensorrt_rtx 1\.7\.1 does not compile for sm_90: .* sm_75, sm_89, sm_120"):
        RTX.targets(LOADED, ("sm_89", "sm_90"))


def test_rtx_compiles_an_engine_for_one_architecture() -> None:
    targets: list[tuple[object, ...]] = []
    config = SimpleNamespace(set_compute_capability=lambda *arguments: targets.append(arguments))
    RTX.set_target(LOADED, config, "sm_120")
    assert config.num_compute_capabilities == 1
    assert targets == [(ComputeCapability.SM120, 0)]


def test_tensorrt_compiles_for_the_gpu_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(monkeypatch, Driver(1))
    assert TENSORRT.targets(LOADED, ()) == ("sm_90-NVIDIA-H200-rev-2",)
    with pytest.raises(UsageError, match="leave --arch out"):
        TENSORRT.targets(LOADED, ("sm_90",))


def test_the_driver_describes_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(monkeypatch, Driver(1))
    assert (gpu().name, gpu().architecture) == ("NVIDIA H200 (rev. 2)", "sm_90")
    assert gpu().peak_flops == pytest.approx(989e12, rel=1e-3)  # of the data sheet, at that clock
    with pytest.raises(UsageError, match="gives no GPU 1"):
        gpu(1)


@pytest.mark.parametrize(
    ("capability", "multiprocessors", "megahertz", "tera"),
    [
        pytest.param((8, 7), 16, 1300, 42.5, id="Jetson AGX Orin: 170 sparse int8 operations, a quarter of them"),
        pytest.param((10, 0), 148, 1965, 2250, id="HGX B200"),
        pytest.param((10, 3), 148, 1920, 2250, id="HGX B300"),
        pytest.param((12, 1), 48, 2525, 125, id="GB10: 1,000 sparse float4 operations, an eighth of them"),
    ],
)
def test_the_peak_of_a_gpu_is_that_of_its_data_sheet(
    capability: tuple[int, int], multiprocessors: int, megahertz: int, tera: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 10 %, as data sheets round and clocks of servers differ; architectures differ by factors of two."""
    attributes = {"multiprocessors": multiprocessors, "kilohertz": 1000 * megahertz}
    install_driver(monkeypatch, Driver(1, capability, attributes))
    assert gpu().peak_flops == pytest.approx(tera * 1e12, rel=0.1)


def test_an_unknown_architecture_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(monkeypatch, Driver(1, (13, 0)))
    assert gpu().peak_flops is None


def test_without_pycuda_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install_driver(monkeypatch, None)
    with pytest.raises(MissingPackageError, match=r'pip install "bsbatch\[tensorrt\]"'):
        gpu()


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(gpu_module, "import_module", fail)
    monkeypatch.setattr(gpu_module, "driver_problem", lambda: "there is no NVIDIA driver here")
    with pytest.raises(UsageError, match="there is no NVIDIA driver here"):
        gpu()


def test_a_pycuda_that_cannot_be_loaded_is_told_from_a_missing_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a driver, a library that is missing is another one: a pycuda with cuRAND links libcurand."""

    def fail(name: str) -> ModuleType:
        raise ImportError("libcurand.so.10: cannot open shared object file")

    monkeypatch.setattr(gpu_module, "import_module", fail)
    monkeypatch.setattr(gpu_module, "driver_problem", lambda: None)
    with pytest.raises(MissingPackageError, match=r"pycuda cannot be loaded \(libcurand\.so\.10.*: build it again"):
        gpu()


def test_a_missing_driver_is_a_problem_and_needs_no_gpu_to_see() -> None:
    assert gpu_module.driver_problem(library="libc.so.6") is None
    assert "start a container with --gpus all" in (gpu_module.driver_problem(library="libno-such-driver.so.1") or "")


def test_the_problem_of_the_backend_names_the_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "driver_problem", lambda: "no driver")
    monkeypatch.setattr(libraries, "find_spec", lambda module: module == "tensorrt_rtx" or None)
    assert libraries.tensorrt_problem() == "no driver"
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    assert (
        libraries.tensorrt_problem()
        == 'neither tensorrt nor tensorrt_rtx is installed: pip install "bsbatch[tensorrt]"'
    )


def test_a_missing_libnvinfer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "driver_problem", lambda: "no driver")
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    monkeypatch.setattr(libraries, "find_library", {"nvinfer": "libnvinfer.so.10"}.get)
    assert libraries.nvinfer_problem() == "no driver"
    monkeypatch.setattr(libraries, "find_library", lambda _: None)
    assert "pip install tensorrt" in (libraries.nvinfer_problem() or "")


def test_a_missing_library_is_refused_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    assert available_flavour() is None
    for flavour, library in LIBRARIES.items():
        with pytest.raises(MissingPackageError, match=rf'pip install "bsbatch\[{flavour}\]"'):
            library.load()


def test_bindings_without_their_libraries_are_refused_with_another_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ImportError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(libraries, "find_spec", lambda _: object())
    monkeypatch.setattr(libraries, "import_module", fail)
    with pytest.raises(MissingPackageError, match=r"cannot be loaded \(libnvinfer\.so\.11.*--force-reinstall"):
        TENSORRT.load()


def test_tensorrt_is_preferred_to_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: object())
    assert available_flavour() is Flavour.TENSORRT
    monkeypatch.setattr(libraries, "find_spec", lambda name: object() if name == "tensorrt_rtx" else None)
    assert available_flavour() is Flavour.RTX


def test_a_library_has_one_logger_that_remembers_its_last_error() -> None:
    """TensorRT reports to the first logger that it gets."""
    loaded = ModuleType("tensorrt")
    loaded.ILogger = type("ILogger", (), {"ERROR": 1})  # type: ignore[attr-defined]
    log: Any = libraries.logger_of(loaded)
    assert log.last == "it gives no reason"
    log.log(1, "out of memory")
    log.log(2, "a warning")
    assert libraries.logger_of(loaded) is log
    assert log.last == "out of memory"


def test_versions_of_missing_packages_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_module, "version_of", {"tensorrt": "11.4.0"}.get)
    others = dict.fromkeys(["pycuda", "tensorrt-cu12", "tensorrt-rtx", "onnxruntime-gpu"])
    packages = {**others, "tensorrt": "11.4.0"}
    assert versions(tmp_path / "version") == packages | {"nvidia driver": None}
    (tmp_path / "version").write_text("580.95.05\n")
    assert versions(tmp_path / "version") == packages | {"nvidia driver": "580.95.05"}
