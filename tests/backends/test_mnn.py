import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests import graphs

from bsbatch.backends import mnn
from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError
from bsbatch.host.workers import Isolation
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import GRAPH, Manifest, Model, sha256_of, write_manifest

pytestmark = pytest.mark.skipif(REQUIREMENTS["mnn"].missing is not None, reason="MNN is not installed")
TWO = Effort(threads=2)


def images(number: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((number, 1, 512, 512), np.float32)


def score_with(
    backend: type[mnn.MnnBackend | OnnxRuntimeBackend], model: Model, batch: NDArray[np.float32]
) -> NDArray[np.float32]:
    with backend(model, TWO) as entered:
        return entered.infer(batch).probabilities


@pytest.fixture
def model(twin: Path) -> Model:
    return Model.load(twin, VERSION)


@pytest.fixture
def model_with_half_weights(twin: Path, tmp_path: Path) -> Model:
    """The twin with its weights stored as float16, each followed by a Cast to float32."""
    onnx.save(graphs.with_float16_weights(onnx.load(twin / GRAPH)), tmp_path / GRAPH)
    write_manifest(tmp_path, Manifest({GRAPH: sha256_of(tmp_path / GRAPH)}, VERSION, "halved"))
    return Model.load(tmp_path, VERSION)


@pytest.mark.parametrize("number", [1, 2, 5, 17])
def test_any_number_of_images_has_the_probabilities_of_onnx_runtime(number: int, model: Model) -> None:
    batch = images(number)

    found, expected = score_with(mnn.MnnBackend, model, batch), score_with(OnnxRuntimeBackend, model, batch)

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_weights_stored_as_float16_are_used_as_float32(model_with_half_weights: Model) -> None:
    batch = images(3)

    found, expected = (
        score_with(mnn.MnnBackend, model_with_half_weights, batch),
        score_with(OnnxRuntimeBackend, model_with_half_weights, batch),
    )

    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_an_empty_batch_has_no_probabilities(model: Model) -> None:
    with mnn.MnnBackend(model, TWO) as backend:
        assert backend.infer(images(0)).probabilities.shape == (0, 2)


@pytest.mark.parametrize(
    ("threads", "gibibytes", "lanes"), [(None, 64, 8), (64, 64, 8), (3, 64, 3), (None, 7, 4), (7, 7, 1), (None, 0, 1)]
)
def test_workers_are_no_more_than_processors_or_memory_allow(
    threads: int | None, gibibytes: int, lanes: int, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnn, "usable_cpus", lambda: 8)
    monkeypatch.setattr(mnn, "usable_memory", lambda: gibibytes * 2**30)

    assert mnn.MnnBackend(model, Effort(threads)).lanes == lanes


def test_a_graph_that_gives_other_probabilities_is_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "aside").touch()
    outputs = {"probabilities": "probabilities"}

    with Isolation() as isolation, pytest.raises(ModelError, match=r"differs by \d.*ONNX Runtime's"):
        isolation.call(mnn.convert, model.graph, tmp_path / "aside", "image", outputs, tolerance=-1.0)


def test_a_converted_file_that_mnn_cannot_load_is_refused_without_a_crash(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(4096))
    monkeypatch.setattr(mnn, "_mnn_file_of", lambda _: tmp_path / "noise")

    with pytest.raises(ModelError, match=r"cannot use this model.*--backend onnxruntime"):
        mnn.MnnBackend(model, TWO).__enter__()


def workers() -> set[int]:
    """Process ids of this process's children."""
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    fields = [(int(stat.split()[0]), stat.rpartition(")")[2].split()) for stat in stats]
    return {number for number, rest in fields if int(rest[1]) == os.getpid() and rest[0] != "Z"}


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_worker_that_crashes_in_the_middle_of_a_batch_is_reported_with_advice(
    number: signal.Signals, model: Model
) -> None:
    before = workers()
    with mnn.MnnBackend(model, TWO) as backend:
        started = workers() - before
        assert len(started) == backend.lanes

        def crash() -> None:
            time.sleep(0.2)
            os.kill(min(started), number)

        killer = threading.Thread(target=crash)
        killer.start()
        with pytest.raises(BackendError) as caught:
            backend.infer(images(300))
        killer.join()

    for words in (signal.strsignal(number), "the same command goes on", "--backend onnxruntime"):
        assert str(words) in str(caught.value)
    assert not workers() & started


def test_a_worker_that_hangs_is_reported(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before = workers()
    with mnn.MnnBackend(model, Effort(threads=1)) as backend:
        (worker,) = workers() - before
        backend._workers._seconds = 1.0
        os.kill(worker, signal.SIGSTOP)
        with pytest.raises(BackendError, match="no answer within 1 s"):
            backend.infer(images(1))
