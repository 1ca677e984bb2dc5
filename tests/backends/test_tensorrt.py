"""The backend on fake GPUs: every image gets its score, and a missing part is named before a run starts."""

import json
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.archives import COLUMNS, ROWS, Scan, dataset_of, write, write_plain
from tests.backends.replacing import use_backend
from tests.cuda.machines import normalise_on
from tests.cuda.runtime import PLAN, PLAN_WITH_CAMS, VERSION, FakeLibrary
from tests.end_to_end.tables import results

from bsbatch.backends import tensorrt as module
from bsbatch.backends.tensorrt import TensorRtBackend
from bsbatch.bench import bench as measuring
from bsbatch.bench.ceiling import Ceiling
from bsbatch.bench.settings import BenchConfig, Pace, StageName, Subject
from bsbatch.bench.stages import open_setup, time_inference
from bsbatch.config import BackendName, CamMode, Effort, RunConfig
from bsbatch.cuda import library as libraries
from bsbatch.cuda.device import DeviceError
from bsbatch.cuda.engines import PRECISION, EngineKey
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.gpu import Gpu
from bsbatch.cuda.ring import MODEL_SHAPE
from bsbatch.errors import BackendError, MissingPackageError, ModelError
from bsbatch.imaging.preprocess import VERSION as PREPROCESSING
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import GRAPH, Manifest, Model, read_manifest, sha256_of, write_manifest
from bsbatch.protocols import Images
from bsbatch.records import Inference, PinnedImage
from bsbatch.run.report import Ending, SilentReporter
from bsbatch.run.screen import screen

KEY = EngineKey("tensorrt_rtx", VERSION, "sm_89", PRECISION, "0" * 16, (1, 3), ("probabilities",))
EFFORT = Effort(threads=2, batch_size=3)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model with an engine for one architecture."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / GRAPH).write_bytes(b"graph")
    write_manifest(folder, Manifest({GRAPH: sha256_of(folder / GRAPH)}, PREPROCESSING, "tiny"))
    model = Model.load(folder, PREPROCESSING)
    derive_file(model, Derivation(KEY.name, str(KEY), write_plan))
    return model


def write_plan(_: Path, aside: Path) -> None:
    aside.write_bytes(PLAN)


def write_plan_with_cams(_: Path, aside: Path) -> None:
    aside.write_bytes(PLAN_WITH_CAMS)


@pytest.fixture
def model_with_cams(model: Model) -> Model:
    """The model with a heat map among its outputs, and an engine for it."""
    manifest = replace(read_manifest(model.folder), cam_name="cam")
    write_manifest(model.folder, manifest)
    model = Model.load(model.folder, PREPROCESSING)
    key = replace(KEY, outputs=("probabilities", "cam"))
    derive_file(model, Derivation(key.name, str(key), write_plan_with_cams))
    return model


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A machine with one fake GPU and TensorRT-RTX."""
    device = FakeDevice(1 << 26, {"normalise": normalise_on(MODEL_SHAPE)}, FakeHost())
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", FakeLibrary(device, [(1, 1), (2, 3)]))
    monkeypatch.setattr(libraries, "find_spec", lambda name: object() if name == "tensorrt_rtx" else None)
    monkeypatch.setattr(module, "gpus", lambda: (Gpu("NVIDIA L4", "sm_89"),))
    monkeypatch.setattr(module, "CudaDevice", lambda _: device)
    monkeypatch.setattr(module, "_WARM_SECONDS", 0)
    monkeypatch.setattr(module, "_SWEEP_SECONDS", 0)
    return device


def images_of(values: list[float]) -> NDArray[np.float32]:
    return np.stack([np.full((1, 512, 512), value, np.float32) for value in values])


def scores_of_values(values: list[float]) -> NDArray[np.float32]:
    return np.asarray(values, np.float16).astype(np.float32)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 40])
def test_every_image_has_its_score(device: FakeDevice, model: Model, number: int) -> None:
    values = [(index + 1) / 64 for index in range(number)]
    with TensorRtBackend(model, EFFORT) as backend:
        scores = backend.infer(images_of(values)).probabilities
        again = backend.infer(images_of(values[::-1])).probabilities
    assert scores.dtype == np.float32
    assert np.array_equal(scores[:, 1], scores_of_values(values))
    assert np.array_equal(again[::-1], scores)


@pytest.mark.parametrize("number", [0, 1, 7])
def test_with_cams_every_image_has_its_map(device: FakeDevice, model_with_cams: Model, number: int) -> None:
    values = [(index + 1) / 64 for index in range(number)]
    with TensorRtBackend(model_with_cams, EFFORT, with_cams=True) as backend:
        found = backend.infer(images_of([0.0, *values])[1:])
    assert np.array_equal(found.probabilities[:, 1], scores_of_values(values))
    cells = np.broadcast_to((scores_of_values(values) - np.float32(0.5)).reshape(-1, 1, 1), (number, 32, 32))
    assert np.array_equal(found.cams, cells)  # type: ignore[arg-type]


def test_the_fastest_batch_is_measured_once_and_kept_beside_the_engine(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[int] = []

    def rate(self: TensorRtBackend, size: int) -> float:
        swept.append(size)
        return measured(self, size) and {1: 995.0, 3: 1000.0}[size]

    measured = TensorRtBackend._measure_rate
    monkeypatch.setattr(TensorRtBackend, "_measure_rate", rate)
    for _ in range(2):
        with TensorRtBackend(model, Effort(threads=2)) as backend:
            assert backend.batch_size == 4  # 1 is within 2 % of the best, and four batches are in flight
            assert np.array_equal(
                backend.infer(images_of([0.25, 0.5])).probabilities[:, 1], scores_of_values([0.25, 0.5])
            )
    assert swept == [1, 3]
    kept = json.loads((model.folder / "model.tensorrt_rtx.sm_89.batch.json").read_text(encoding="utf-8"))
    assert kept == {"batch": 1, "scans_per_second": {"1": 995.0, "3": 1000.0}}


class Swept(TensorRtBackend):
    """The backend on a GPU that computes 100 images in a second by its clock; pageable images are refused."""

    sizes: ClassVar[list[int]] = []

    def submit(self, images: Images | Sequence[PinnedImage]) -> "Future[Inference]":
        self.sizes.append(len(images))
        assert all(isinstance(image, PinnedImage) and image.counts.std() > 1000 for image in images)
        return super().submit(images)

    def device_seconds(self) -> dict[str, float]:
        return {"compute": sum(self.sizes) / 100}


def test_a_sweep_computes_noise_in_pinned_memory_and_its_rate_is_that_of_computing(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Swept, "sizes", [])
    with Swept(model, Effort(threads=2)):
        assert Swept.sizes == [1, 1, 3, 3]  # once to warm up
    kept = json.loads((model.folder / "model.tensorrt_rtx.sm_89.batch.json").read_text(encoding="utf-8"))
    assert kept["scans_per_second"] == {"1": pytest.approx(100), "3": pytest.approx(100)}


def test_a_sweep_tries_a_batch_below_two_gibibytes_beside_that_of_two(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Swept, "sizes", [])
    monkeypatch.setattr(module, "_WIDE_SLOT", 3)
    monkeypatch.setattr(module, "_NARROW_SLOT", 2)
    with Swept(model, Effort(threads=2)):
        assert Swept.sizes == [1, 1, 2, 2, 3, 3]


def test_batches_are_measured_again_for_another_gpu(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {1: 1.0, 3: 2.0}
    monkeypatch.setattr(TensorRtBackend, "_measure_rate", lambda _, size: rates[size])
    with TensorRtBackend(model, Effort(threads=2)) as backend:
        assert backend.batch_size == 12
    rates[1] = 3.0
    monkeypatch.setattr(module, "gpus", lambda: (Gpu("NVIDIA L40S", "sm_89"),))
    with TensorRtBackend(model, Effort(threads=2)) as backend:
        assert backend.batch_size == 4


def test_the_largest_batch_is_used_if_the_fastest_cannot_be_kept(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> Path:
        raise ModelError("there is no place")

    monkeypatch.setattr(module, "derive_file", nowhere)
    with TensorRtBackend(model, Effort(threads=2)) as backend:
        assert backend.batch_size == 12


def test_a_run_without_maps_computes_none(device: FakeDevice, model_with_cams: Model) -> None:
    with TensorRtBackend(model_with_cams, EFFORT) as backend:
        found = backend.infer(images_of([0.5]))
    assert found.cams is None


def test_maps_of_a_model_without_an_engine_for_them_are_refused_with_the_command(
    device: FakeDevice, model_with_cams: Model
) -> None:
    (model_with_cams.folder / "model.tensorrt_rtx.sm_89.cam.engine").unlink()
    words = r"sm_89\.cam\.engine cannot be read .*: bsbatch-build compile"
    with pytest.raises(ModelError, match=words), TensorRtBackend(model_with_cams, EFFORT, with_cams=True):
        pass


def test_the_bench_compares_the_work_with_the_peak_of_the_gpus_not_of_the_processor(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_backend(monkeypatch, "tensorrt", TensorRtBackend)
    monkeypatch.setattr(measuring, "gpus", lambda: (Gpu("NVIDIA L4", "sm_89", 121e12),))
    write_manifest(model.folder, replace(read_manifest(model.folder), training={"weights_count": 14_978_370}))
    write_plain(tmp_path / "archive", 2)
    subject, pace = Subject(tmp_path / "archive"), Pace(0, 0, 2)
    config = BenchConfig(subject, model.folder, StageName.INFER, BackendName.TENSORRT, batches=(3,), pace=pace)
    report = measuring.bench(config)
    (row,) = json.loads(json.dumps(report.as_dict()))["measurements"]
    assert (report.backend, report.environment["gpus"]) == ("tensorrt fp16", ["NVIDIA L4"])
    assert report.ceiling == Ceiling(80.2e9, 121e12, "fp16")
    assert 0 < row["computing"] <= 1
    assert row["share_of_peak_computing"] == pytest.approx(2 * 80.2e9 * row["throughput"] / 121e12 / row["computing"])


def test_an_empty_batch_has_no_scores(device: FakeDevice, model: Model) -> None:
    with TensorRtBackend(model, EFFORT) as backend:
        assert backend.infer(images_of([0.5])[:0]).probabilities.shape == (0, 2)


def test_the_time_of_the_devices_is_reported_by_part(device: FakeDevice, model: Model) -> None:
    with TensorRtBackend(model, EFFORT) as backend:
        before = backend.device_seconds()
        backend.infer(images_of([0.5] * 7))
        after = backend.device_seconds()
    assert list(after) == ["H2D", "compute", "D2H"]
    assert before == {"H2D": 0, "compute": 0, "D2H": 0}
    assert all(seconds > 0 for seconds in after.values())


def test_the_bench_shows_the_parts_as_series(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_backend(monkeypatch, "tensorrt", TensorRtBackend)
    write_plain(tmp_path, 1)
    with (
        open_setup(tmp_path, model.folder, BackendName.TENSORRT, EFFORT) as setup,
        time_inference(setup, images_of([0.5] * 6)) as take,
    ):
        turns = [take() for _ in range(3)]
    assert [list(turn.seconds) for turn in turns] == [["latency", "H2D", "compute", "D2H", "waited"]] * 3
    for seconds in (turn.seconds for turn in turns):
        assert 0 < seconds["compute"] < seconds["latency"]
        assert seconds["waited"] == pytest.approx(seconds["latency"] - seconds["compute"])
    assert [turn.items for turn in turns] == [3, 3, 3]


@pytest.mark.parametrize("cam", CamMode)
def test_a_run_has_the_maps_of_its_cam_mode(
    device: FakeDevice, model_with_cams: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cam: CamMode
) -> None:
    use_backend(monkeypatch, "tensorrt", TensorRtBackend)
    write_plain(tmp_path / "archive", 4)
    config = RunConfig(
        tmp_path / "archive", tmp_path / "out", model_with_cams.folder, BackendName.TENSORRT, effort=EFFORT, cam=cam
    )
    middle = replace(config, threshold=sorted(scores_of(config))[2])
    screen(replace(middle, fresh=True), SilentReporter())
    rows = results(tmp_path / "out")
    assert sorted(row["predicted"] for row in rows) == [0, 0, 1, 1]
    wanted = {CamMode.NONE: [], CamMode.POSITIVE: [1], CamMode.ALL: [0, 1]}[cam]
    assert all((row.get("cam_map") is not None) == (row["predicted"] in wanted) for row in rows)


def scores_of(config: RunConfig) -> list[float]:
    """Scores of a run without heat maps."""
    screen(replace(config, cam=CamMode.NONE), SilentReporter())
    assert config.out is not None
    return [row["p_metastasis"] for row in results(config.out)]


class OfArrays:
    """The backend without pinned images for intake threads."""

    precision, lanes = TensorRtBackend.precision, 1

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        self._backend = TensorRtBackend(model, effort, with_cams=with_cams)
        self.batch_size = self._backend.batch_size

    def __enter__(self) -> Self:
        self._backend.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backend.__exit__(kind, error, trace)

    def infer(self, images: Images) -> Inference:
        return self._backend.infer(images)


class OfPinnedImages(TensorRtBackend):
    """The backend; records the pinned images that it gets."""

    used: ClassVar[list[int]] = []

    def submit(self, images: Images | Sequence[PinnedImage]) -> "Future[Inference]":
        self.used.extend(id(image) for image in images if isinstance(image, PinnedImage))
        return super().submit(images)


def test_a_run_writes_counts_to_pinned_memory_and_has_the_scores_of_arrays(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_IN_FLIGHT", 1)
    monkeypatch.setattr(module, "_WINDOW", 2)
    write_plain(tmp_path / "archive", 60)
    write(dataset_of(Scan(60), np.zeros((2, ROWS, COLUMNS), np.uint16)), tmp_path / "archive" / "blank.dcm")
    found = []
    for backend in (OfArrays, OfPinnedImages):
        use_backend(monkeypatch, "tensorrt", backend)
        out = tmp_path / backend.__name__
        screen(
            RunConfig(tmp_path / "archive", out, model.folder, BackendName.TENSORRT, effort=EFFORT), SilentReporter()
        )
        found.append([(row["exam_id"], row["p_metastasis"], row["reason"]) for row in results(out)])
    assert found[0] == found[1]
    assert [reason for _, _, reason in found[0]].count("all_zero") == 1
    assert len(OfPinnedImages.used) == 60 > len(set(OfPinnedImages.used))


def test_leaving_frees_everything(device: FakeDevice, model: Model) -> None:
    with TensorRtBackend(model, EFFORT) as backend:
        backend.infer(images_of([0.5]))
    with device:
        assert device.free_memory() == device.memory


def test_a_gpu_that_fails_ends_the_run_and_no_thread_waits_forever(device: FakeDevice, model: Model) -> None:
    def fail(*_: object) -> None:
        raise DeviceError("an illegal memory access was encountered")

    device._kernels = {"normalise": fail}
    words = r"illegal memory access .* the same command goes on"
    with TensorRtBackend(model, EFFORT) as backend, pytest.raises(BackendError, match=words):
        backend.infer(images_of([0.5] * 200))


def test_a_run_whose_gpu_fails_can_be_resumed(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_backend(monkeypatch, "tensorrt", TensorRtBackend)
    write_plain(tmp_path / "archive", 12)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", model.folder, BackendName.TENSORRT, effort=EFFORT)
    sound, left = device._kernels["normalise"], iter(range(4))

    def fail_later(device: FakeDevice, arguments: Sequence[int]) -> None:
        if next(left, None) is None:
            raise DeviceError("an illegal memory access was encountered")
        sound(device, arguments)

    device._kernels = {"normalise": fail_later}
    with pytest.raises(BackendError, match=r"illegal memory access .* the same command goes on"):
        screen(config, SilentReporter())
    assert 0 < len(results(tmp_path / "out")) < 12


class Interrupting(SilentReporter):
    """Presses Ctrl-C once when the first rows are committed, while further batches are queued on the GPU."""

    is_done = False

    def advance(self, objects: int, *_: int) -> None:
        if not self.is_done and objects == 0:
            self.is_done = True
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_run_with_queued_batches_can_be_resumed_and_scores_everything_once(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_backend(monkeypatch, "tensorrt", TensorRtBackend)
    write_plain(tmp_path / "archive", 30)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", model.folder, BackendName.TENSORRT, effort=EFFORT)
    assert screen(config, Interrupting()).ending is Ending.INTERRUPTED
    before = len(results(tmp_path / "out"))
    assert screen(config, SilentReporter()).ending is Ending.COMPLETE
    assert 0 < before < 30
    rows = [row["exam_id"] for row in results(tmp_path / "out")]
    assert len(rows) == len(set(rows)) == 30


def test_a_model_without_an_engine_for_this_gpu_is_refused_with_the_command(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "gpus", lambda: (Gpu("NVIDIA H200", "sm_90"),))
    words = r"has no model\.tensorrt_rtx\.sm_90\.engine: bsbatch-build compile"
    with pytest.raises(ModelError, match=words), TensorRtBackend(model, EFFORT):
        pass


def test_without_a_library_both_install_lines_are_named(
    device: FakeDevice, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    with (
        pytest.raises(MissingPackageError, match=r"bsbatch\[tensorrt\].*bsbatch\[rtx\]"),
        TensorRtBackend(model, EFFORT),
    ):
        pass


def test_there_is_no_backend_without_a_model() -> None:
    with pytest.raises(ModelError, match="--model FOLDER"):
        TensorRtBackend(None, EFFORT)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[FakeLibrary]:
    """A machine with two fake GPUs, each with a library."""
    host = FakeHost()
    devices = [FakeDevice(1 << 26, {"normalise": normalise_on(MODEL_SHAPE)}, host) for _ in range(2)]
    made = [FakeLibrary(device, [(1, 1), (2, 3)]) for device in devices]
    load: Callable[[int], FakeLibrary] = iter(made).__next__  # type: ignore[assignment]
    monkeypatch.setattr(libraries, "find_spec", lambda name: object() if name == "tensorrt_rtx" else None)
    monkeypatch.setattr(libraries, "import_module", lambda _: load())  # type: ignore[call-arg]
    monkeypatch.setattr(module, "gpus", lambda: (Gpu("NVIDIA L4", "sm_89"),) * 2)
    monkeypatch.setattr(module, "CudaDevice", devices.__getitem__)
    return made


def test_two_gpus_share_a_batch(two_gpus: list[FakeLibrary], model: Model) -> None:
    values = [(index + 1) / 128 for index in range(60)]
    with TensorRtBackend(model, EFFORT) as backend:
        scores = backend.infer(images_of(values)).probabilities
    assert np.array_equal(scores[:, 1], scores_of_values(values))
    assert all(library.done for library in two_gpus)
    assert sum(sum(library.done) for library in two_gpus) == 60


def test_a_run_gives_each_of_two_gpus_whole_slots(
    two_gpus: list[FakeLibrary], model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_backend(monkeypatch, "tensorrt", TensorRtBackend)
    write_plain(tmp_path / "archive", 40)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", model.folder, BackendName.TENSORRT, effort=EFFORT)
    report = screen(config, SilentReporter())
    assert report.scored == 40
    assert all(library.done for library in two_gpus)
    probe, first, *others = sorted(size for library in two_gpus for size in library.done)
    assert (probe, first, sum(others)) == (1, 1, 39)
    assert others.count(3) >= len(others) - 2
