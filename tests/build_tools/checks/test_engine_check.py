"""An engine is compared with float32 on the GPU, every profile of it; here on a fake GPU that scores image means."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cuda.machines import normalise_on
from tests.cuda.runtime import PLAN, FakeLibrary

from bsbatch.cuda.engines import PRECISION, Engine, EngineKey
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.gpu import Gpu
from bsbatch.cuda.library import LIBRARIES, Flavour
from bsbatch.cuda.ring import MODEL_SHAPE
from bsbatch.errors import MissingPackageError, ModelError
from bsbatch.models.directory import Manifest
from bsbatch.records import Inference
from bsbatch_build.checks import engine_check
from bsbatch_build.checks.engine_check import GoldenScores, check_engine, runs_here
from bsbatch_build.checks.verify import Reference

KEY = EngineKey("tensorrt_rtx", "1.7.1", "sm_89", PRECISION, "0" * 16, (1, 3), ("probabilities",))
MANIFEST = Manifest({"model.onnx": ""}, 1, "small")
VALUES = np.asarray([0.25, 0.75], np.float32)
GOLDEN = GoldenScores(
    np.broadcast_to(VALUES.reshape(2, 1, 1, 1), (2, 1, 512, 512)),
    Reference(np.stack([1 - VALUES, VALUES], axis=1), np.asarray([False, True]), 0.5),
)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    """A library on a fake GPU, with profiles for batches of 1 and of 2 to 3."""
    device = FakeDevice(1 << 26, {"normalise": normalise_on(MODEL_SHAPE)}, FakeHost())
    monkeypatch.setattr(engine_check, "CudaDevice", lambda _: device)
    return FakeLibrary(device, [(1, 1), (2, 3)])


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    (tmp_path / "aside").write_bytes(PLAN)
    return Engine(tmp_path / "aside", KEY)


def scored(scores: list[float]) -> GoldenScores:
    """The same examinations, with other probabilities in float32."""
    positive = np.asarray(scores, np.float32)
    probabilities = np.stack([1 - positive, positive], axis=1)
    return replace(GOLDEN, reference=replace(GOLDEN.reference, probabilities=probabilities))


def test_every_profile_is_compared_in_a_batch_that_fills_it(library: FakeLibrary, engine: Engine) -> None:
    assert check_engine(library, engine, MANIFEST, GOLDEN) == 0
    assert library.done == [1, 1, 3]
    with library.device:
        assert library.device.free_memory() == library.device.memory


def test_the_largest_difference_is_returned(library: FakeLibrary, engine: Engine) -> None:
    assert check_engine(library, engine, MANIFEST, scored([0.251, 0.754])) == pytest.approx(4e-3, abs=1e-5)


def test_an_engine_that_differs_is_refused_with_its_batch(library: FakeLibrary, engine: Engine) -> None:
    words = r"in batches of 1, the engine model\.tensorrt_rtx\.sm_89\.engine differs by 0\.01 .* flips 0"
    with pytest.raises(ModelError, match=words):
        check_engine(library, engine, MANIFEST, scored([0.26, 0.75]))


def test_an_engine_whose_larger_batches_differ_is_refused(
    library: FakeLibrary, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kernel of one profile alone would, which adds up in float16."""
    score = engine_check._score

    def wrong(worker: Any, images: list[Any], size: int) -> list[Inference]:
        found = score(worker, images, size)
        return [Inference(part.probabilities + np.float32(0.1 * (size == 3))) for part in found]

    monkeypatch.setattr(engine_check, "_score", wrong)
    with pytest.raises(ModelError, match="in batches of 3"):
        check_engine(library, engine, MANIFEST, GOLDEN)


def test_an_engine_is_compared_where_the_gpu_that_it_is_for_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pycuda() -> Gpu:
        raise MissingPackageError("pycuda is not installed")

    rtx, tensorrt = LIBRARIES[Flavour.RTX], LIBRARIES[Flavour.TENSORRT]
    monkeypatch.setattr(engine_check, "gpu", lambda: Gpu("NVIDIA L4", "sm_89"))
    assert [runs_here(rtx, target) for target in ("sm_89", "sm_120")] == [True, False]
    assert [runs_here(tensorrt, f"sm_89-{name}") for name in ("NVIDIA-L4", "NVIDIA-L40S")] == [True, False]
    monkeypatch.setattr(engine_check, "gpu", no_pycuda)
    assert not runs_here(rtx, "sm_89")
