"""Engines of a model directory: compiled once for each target, and refused for any other."""

import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.build_tools.graphs import with_graph
from tests.build_tools.stand_in import tensorrt
from typer.testing import CliRunner

from bsbatch.cuda import library as libraries
from bsbatch.cuda.engines import EngineTarget, find_engine
from bsbatch.cuda.gpu import Gpu
from bsbatch.cuda.library import LIBRARIES, Flavour, architectures
from bsbatch.errors import MissingPackageError, ModelError, UsageError
from bsbatch.host.files import cache_folder
from bsbatch.imaging import preprocess
from bsbatch.models.directory import Model
from bsbatch_build.checks import engine_check
from bsbatch_build.cli import app
from bsbatch_build.export import compile_tensorrt as compile_module
from bsbatch_build.export import precision
from bsbatch_build.export.compile_tensorrt import CompiledModel, CompileSettings, compile_model
from bsbatch_build.export.export import ExportSettings, export
from bsbatch_build.export.precision import FILE
from bsbatch_build.network.network import NetworkSettings

IS_HERE = find_spec("tensorrt_rtx") is not None
ONE = ("sm_89",)


def rtx(test: Any) -> Any:
    """A test that compiles for real."""
    return pytest.mark.rtx(pytest.mark.skipif(not IS_HERE, reason="tensorrt_rtx is not installed: make rtx")(test))


class Recorder:
    """A listener that records its calls, and cancels on request."""

    def __init__(self, cancels: bool = False) -> None:
        self.examinations: list[str] = []
        self.phases: Counter[str] = Counter()
        self.steps = 0
        self._goes_on = not cancels

    def on_examination(self, activity: str) -> None:
        self.examinations.append(activity)

    def on_phase_start(self, phase: str, steps: int) -> None:
        assert steps > 0
        self.phases[phase] += 1

    def on_step(self, phase: str, step: int) -> bool:
        assert step >= 0
        assert self.phases[phase] > 0
        self.steps += 1
        return self._goes_on

    def on_phase_end(self, phase: str) -> None:
        self.phases[phase] -= 1


@pytest.fixture(scope="module", autouse=True)
def few() -> Any:
    """Two golden examinations suffice here; test_precision.py tests the comparison itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "EXAMINATIONS", 2)
        yield


@pytest.fixture(scope="module")
def halved(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin with its float16 graph."""
    folder = with_graph(twin, tmp_path_factory.mktemp("halved") / "model", lambda _: None)
    precision.derive_half_graph(Model.load(folder, preprocess.VERSION))
    return folder


@pytest.fixture
def model(halved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be compiled."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in halved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT and a GPU, neither of them real."""
    monkeypatch.setattr(libraries, "find_spec", lambda name: object() if name == "tensorrt" else None)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt())
    monkeypatch.setattr(libraries, "gpu", lambda: Gpu("NVIDIA H200", "sm_90"))
    monkeypatch.setattr(compile_module, "runs_here", lambda *_: False)


def compile_for(folder: Path, recorder: Recorder | None = None, **settings: Any) -> CompiledModel:
    return compile_model(CompileSettings(folder, **settings), recorder or Recorder())


PLAIN, WITH_CAM = ("probabilities",), ("probabilities", "cam")


def place(target: str = "sm_89", outputs: tuple[str, ...] = PLAIN) -> EngineTarget:
    return EngineTarget("tensorrt_rtx", LIBRARIES[Flavour.RTX].load().__version__, target, outputs)


@rtx
def test_the_papers_network_becomes_an_engine_for_every_architecture(tmp_path: Path) -> None:
    folder = tmp_path / "vgg16"
    export(ExportSettings(folder, NetworkSettings(seed=1)))
    made = compile_for(folder, flavour=Flavour.RTX)
    loaded = LIBRARIES[Flavour.RTX].load()
    wanted = [(target, outputs) for target in architectures(loaded) for outputs in (PLAIN, WITH_CAM)]
    assert [(engine.key.target, engine.key.outputs) for engine in made.engines] == wanted
    assert {"sm_75", "sm_80", "sm_86", "sm_89", "sm_120"} <= {engine.key.target for engine in made.engines}
    weights = (folder / FILE).stat().st_size
    for engine in made.engines:
        where = place(engine.key.target, engine.key.outputs)
        assert engine == find_engine(Model.load(folder, preprocess.VERSION), where)
        assert (engine.path.parent, engine.key.batches) == (folder, (1, 16, 32, 64))
        assert engine.path.stat().st_size > 0.9 * weights  # the weights are in it, and they are float16
        assert engine.path.stat().st_size < 1.5 * weights


@rtx
def test_an_engine_is_made_once(model: Path) -> None:
    recorder = Recorder()
    first, mapped = compile_for(model, recorder, architectures=ONE).engines
    made = first.path.read_bytes()
    assert recorder.examinations == []
    assert recorder.steps > 10
    assert set(recorder.phases.values()) == {0}  # each phase that began has ended
    again = Recorder()
    assert compile_for(model, again, architectures=ONE).engines == (first, mapped)
    assert (first.path.read_bytes(), again.steps) == (made, 0)


@rtx
def test_other_profiles_replace_the_engine(model: Path) -> None:
    compile_for(model, architectures=ONE, batches=(4,))
    engine, mapped = compile_for(model, architectures=ONE, batches=(1, 8)).engines
    assert engine.key.batches == (1, 8)
    assert find_engine(Model.load(model, preprocess.VERSION), place(outputs=engine.key.outputs)) == engine
    assert {path.name for path in model.glob("*.engine")} == {engine.path.name, mapped.path.name}


@rtx
def test_a_corrupted_engine_is_refused_and_compiled_again(model: Path) -> None:
    engine, _ = compile_for(model, architectures=ONE).engines
    content = bytearray(engine.path.read_bytes())
    content[len(content) // 2] ^= 1
    engine.path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.tensorrt_rtx\.sm_89\.engine is corrupted"):
        find_engine(Model.load(model, preprocess.VERSION), place(outputs=engine.key.outputs))
    compile_for(model, architectures=ONE)
    find_engine(Model.load(model, preprocess.VERSION), place(outputs=engine.key.outputs))


@rtx
def test_a_graph_that_the_library_cannot_compile_is_refused_with_its_message(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is why matrix products become sums for Turing."""
    plain = replace(LIBRARIES[Flavour.RTX], without_float32_matmul=frozenset())
    monkeypatch.setitem(LIBRARIES, Flavour.RTX, plain)
    with pytest.raises(ModelError, match=r"tensorrt_rtx cannot compile .* for sm_75: .*FP32 GEMM is not supported"):
        compile_for(model, architectures=("sm_75",))
    assert list(model.glob("*.engine")) == []


@rtx
def test_a_cancelled_engine_leaves_no_file(model: Path) -> None:
    before = sorted(path.name for path in model.iterdir())
    with pytest.raises(KeyboardInterrupt):
        compile_for(model, Recorder(cancels=True), architectures=ONE)
    assert sorted(path.name for path in model.iterdir()) == before
    assert len(compile_for(model, architectures=ONE).engines) == 2


@rtx
def test_only_the_engine_named_cam_computes_the_heat_map(model: Path) -> None:
    plain, mapped = compile_for(model, architectures=ONE).engines
    assert (plain.path.name, mapped.path.name) == (
        "model.tensorrt_rtx.sm_89.engine",
        "model.tensorrt_rtx.sm_89.cam.engine",
    )
    assert b"cam/" not in plain.path.read_bytes()
    assert b"cam/" in mapped.path.read_bytes()


@rtx
def test_an_unknown_output_is_left_out_of_the_engines(twin: Path, tmp_path: Path) -> None:
    """The engine of a graph whose further output needs a large constant is no larger for it."""

    def add_output(graph: Any) -> None:
        graph.initializer.append(
            numpy_helper.from_array(np.random.default_rng(0).random((2, 1 << 20), np.float32), "m")
        )
        graph.node.append(helper.make_node("MatMul", ["probabilities", "m"], ["more"], "more/MatMul"))
        graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ("N", 1 << 20)))

    folder = with_graph(twin, tmp_path / "model", add_output)
    engines = compile_for(folder, architectures=ONE).engines
    assert (folder / FILE).stat().st_size > 8 * 2**20
    assert max(engine.path.stat().st_size for engine in engines) < 8 * 2**20


@rtx
def test_the_command_names_every_engine(model: Path) -> None:
    arguments = ["compile", str(model), "--flavour", "rtx", "--arch", "sm_89,sm_120", "--batch", "1,4"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    for name in ("model.tensorrt_rtx.sm_89.engine", "model.tensorrt_rtx.sm_120.engine"):
        assert f"engine      {model / name} (" in done.stdout


@rtx
def test_an_unsupported_architecture_is_refused(model: Path) -> None:
    with pytest.raises(UsageError, match="does not compile for sm_90: give --arch out of sm_75"):
        compile_for(model, architectures=("sm_90",))


@pytest.mark.usefixtures("stand_in")
def test_tensorrt_compiles_for_this_gpu_with_a_profile_for_each_batch(model: Path) -> None:
    engine, mapped = compile_for(model, batches=(1, 8)).engines
    assert engine.path.name == "model.tensorrt.sm_90-NVIDIA-H200.engine"
    assert mapped.path.name == "model.tensorrt.sm_90-NVIDIA-H200.cam.engine"
    assert (engine.key.library, engine.key.version) == ("tensorrt", "11.4.0")
    one, two, eight = ((batch, 1, 512, 512) for batch in (1, 2, 8))
    shapes = [{"image": (one, one, one)}, {"image": (two, eight, eight)}]
    for made, outputs in ((engine, PLAIN), (mapped, WITH_CAM)):
        assert made.path.read_bytes().decode().endswith(f"{list(outputs)} {shapes}")


@pytest.mark.usefixtures("stand_in")
def test_float32_is_not_rounded_to_tf32_and_the_key_says_so(model: Path) -> None:
    """TensorRT sets the flag by default; the head and the heat map are float32."""
    for engine in compile_for(model).engines:
        assert b" [] [" in engine.path.read_bytes()
        assert engine.key.precision == "fp16 without tf32"


@pytest.mark.usefixtures("stand_in")
def test_another_level_compiles_the_engine_anew(model: Path) -> None:
    for level in (3, 5, 5):
        engine, _ = compile_for(model, batches=(1,), level=level).engines
        assert engine.path.read_bytes().split()[1] == str(level).encode()
        assert engine.key.level == level


def test_a_level_that_tensorrt_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="--level must be a number from 0 to 5"):
        CompileSettings(Path("model"), level=6)


@pytest.mark.usefixtures("stand_in")
def test_timings_of_tensorrt_are_reused_by_the_next_build(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(model.parent))
    for batches, before in (((1,), (b"0 ", b"1 ")), ((2,), (b"2 ", b"3 "))):
        for engine, times in zip(compile_for(model, batches=batches).engines, before, strict=True):
            assert engine.path.read_bytes().startswith(times)
    assert [path.name for path in (cache_folder() / "timings").iterdir()] == ["tensorrt-11.4.0-sm_90-NVIDIA-H200"]


@pytest.mark.usefixtures("stand_in")
def test_cancelling_tensorrt_raises_keyboard_interrupt(model: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compile_for(model, Recorder(cancels=True))
    assert list(model.glob("*.engine")) == []


@pytest.mark.usefixtures("stand_in")
def test_an_engine_that_differs_on_this_gpu_is_not_stored(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differ(*_: object) -> float:
        raise ModelError("the engine changes a probability by 0.2")

    monkeypatch.setattr(compile_module, "runs_here", lambda *_: True)
    monkeypatch.setattr(compile_module, "check_engine", differ)
    with pytest.raises(ModelError, match="changes a probability"):
        compile_for(model)
    assert list(model.glob("*.engine")) == []


@pytest.mark.usefixtures("stand_in")
def test_the_difference_of_an_engine_on_this_gpu_is_shown(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_check, "EXAMINATIONS", 2)
    monkeypatch.setattr(compile_module, "runs_here", lambda *_: True)
    monkeypatch.setattr(compile_module, "check_engine", lambda *_: 1.5e-4)
    made = compile_for(model)
    lines = [line for line in made.summary() if line.startswith("engine")]
    assert [line.endswith("MiB), 1.5e-04 to fp32 on this GPU") for line in lines] == [True, True]
    assert not any("on this GPU" in line for line in compile_for(model).summary())  # made before, and compared then


def test_without_a_library_the_graph_is_made_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    made = compile_for(model)
    assert (made.engines, made.graph.path) == ((), model / FILE)
    done = CliRunner().invoke(app, ["compile", str(model)], catch_exceptions=False)
    assert 'no engine: neither TensorRT (pip install "bsbatch[tensorrt]")' in done.stdout
    with pytest.raises(MissingPackageError, match=r'rtx: pip install "bsbatch\[rtx\]"'):
        compile_for(model, architectures=ONE)
    with pytest.raises(MissingPackageError, match=r'tensorrt_rtx is not installed: pip install "bsbatch\[rtx\]"'):
        compile_for(model, flavour=Flavour.RTX)


@pytest.mark.parametrize("batches", [(), (0, 1), (32, 1), (1, 1)])
def test_profiles_that_overlap_are_refused(batches: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="ascending numbers"):
        CompileSettings(Path("model"), batches=batches)


def test_batches_that_exceed_the_count_of_tensorrt_are_refused_with_the_reason() -> None:
    """64 x 512 x 512 values of the first convolution, times 128, are 2^31."""
    assert CompileSettings(Path("model"), batches=(1, 127)).batches == (1, 127)
    with pytest.raises(UsageError, match=r"--batch 128 is too large: .* 2\^31 values, .* give at most 127"):
        CompileSettings(Path("model"), batches=(1, 128))


def test_an_architecture_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        CompileSettings(Path("model"), architectures=("sm_89", "sm_89"))


def test_batches_that_are_no_numbers_are_refused(model: Path) -> None:
    done = CliRunner().invoke(app, ["compile", str(model), "--batch", "many"])
    assert isinstance(done.exception, UsageError)
    assert "--batch many is no list of numbers" in str(done.exception)
