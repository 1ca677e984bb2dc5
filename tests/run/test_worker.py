"""Workers that prove themselves, without a cluster."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.archives import Scan, dataset_of, write, write_plain

from bsbatch.config import BackendName, CamMode, Effort, RunConfig
from bsbatch.errors import ModelError, UsageError
from bsbatch.host.workers import Isolation
from bsbatch.records import Prediction, Unit
from bsbatch.run.assembly import make_intake
from bsbatch.run.probe import probe
from bsbatch.run.recipe import WorkerRecipe
from bsbatch.run.report import SilentReporter
from bsbatch.run.setup import RunSetup, make_backend, resolve
from bsbatch.run.worker import Proof, open_worker
from bsbatch.store.catalog import Catalog
from bsbatch.store.folder import shared_token
from bsbatch.telemetry import Telemetry


@pytest.fixture
def setup(tmp_path: Path) -> RunSetup:
    write_plain(tmp_path / "archive", 4)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", backend=BackendName.FAKE, cam=CamMode.ALL)
    return resolve(config, SilentReporter())


@pytest.fixture
def recipe(setup: RunSetup) -> WorkerRecipe:
    return replace(setup.recipe, effort=Effort(threads=1))


@pytest.fixture
def proof(setup: RunSetup) -> Iterator[Proof]:
    with shared_token(setup.out) as token, make_backend(setup) as backend:
        yield Proof.of(setup.source, probe(backend).score, token)
    assert not list(setup.out.glob(".workers"))


def units(setup: RunSetup) -> list[Unit]:
    with Isolation() as isolation:
        return list(make_intake(setup, Catalog(), Telemetry(), isolation).units(8, None))


def test_a_worker_scores_draws_and_returns_no_pixels(setup: RunSetup, recipe: WorkerRecipe, proof: Proof) -> None:
    travelled = pickle.loads(pickle.dumps((recipe, proof)))
    with open_worker(*travelled) as worker:
        (unit,) = units(setup)
        outcomes = worker.execute(unit.exams)
    assert [item.exam for item in outcomes] == list(unit.exams)
    for item in outcomes:
        assert isinstance(item, Prediction)
        assert item.explanation is not None
        assert item.explanation.views is None
    assert {path.stem for path in (setup.out / "overlays").iterdir()} == {exam.exam_id for exam in unit.exams}
    assert worker.drain()["infer"][1] == 4
    assert worker.drain() == {}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("versions", (("bsbatch", "0.0.1"),), "its bsbatch has version .*, the run's 0.0.1: install the same"),
        ("score", 0.123, "gives a test image the score .* and not 0.123000"),
        ("digest", "0" * 64, "has other files there than here: mount the archive under the same path"),
        ("token", "another", "does not see .*out: put --out into a folder that all nodes mount"),
    ],
)
def test_a_worker_that_differs_is_refused_by_name(
    recipe: WorkerRecipe, proof: Proof, field: str, value: object, words: str
) -> None:
    with (
        pytest.raises(UsageError, match=words),
        open_worker(recipe, replace(proof, **{field: value})),  # type: ignore[arg-type]  # one field of each type
    ):
        pass


def test_a_worker_that_sees_another_archive_under_the_same_path_is_refused(
    setup: RunSetup, recipe: WorkerRecipe, proof: Proof
) -> None:
    first = proof.files[0]
    write(dataset_of(Scan(99)), Path(str(first.location)))
    with pytest.raises(UsageError, match="other files there"), open_worker(recipe, proof):
        pass
    for path in Path(recipe.archive).rglob("*.dcm"):
        path.unlink()
    with pytest.raises(UsageError, match="other files there"), open_worker(recipe, proof):
        pass
    with (
        pytest.raises(UsageError, match="must see what the driver sees"),
        open_worker(replace(recipe, archive=setup.out / "gone"), proof),
    ):
        pass


@pytest.mark.parametrize("is_temporary", [True, False])
def test_where_the_archive_is_temporary_the_error_names_synthetic_examinations(
    setup: RunSetup, recipe: WorkerRecipe, proof: Proof, is_temporary: bool
) -> None:
    gone, found = replace(recipe, archive=setup.out / "gone"), replace(proof, is_temporary=is_temporary)
    with pytest.raises(UsageError, match="mount the archive under the same path") as error, open_worker(gone, found):
        pass
    assert ("synthetic examinations" in str(error.value)) is is_temporary


def test_a_worker_of_another_precision_is_refused(recipe: WorkerRecipe, proof: Proof) -> None:
    with (
        pytest.raises(UsageError, match="it computes in fake, the run in fp16"),
        open_worker(replace(recipe, precision="fp16"), proof),
    ):
        pass


def test_a_model_travels_by_its_hashes(twin: Path, tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", twin, backend=BackendName.ONNXRUNTIME)
    model = resolve(config, SilentReporter()).recipe.model
    assert model is not None
    assert model.load().folder == twin
    with pytest.raises(ModelError, match="another one than the run's"):
        replace(model, files=(("model.onnx", "0" * 64),)).load()


def test_the_model_that_comes_with_bsbatch_is_found_wherever_bsbatch_is(tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", Path("demo"), backend=BackendName.ONNXRUNTIME)
    model = resolve(config, SilentReporter()).recipe.model
    assert model is not None
    assert str(model.folder) == "demo"
    assert model.load().is_bundled


def test_a_recipe_is_small(recipe: WorkerRecipe, proof: Proof) -> None:
    assert len(pickle.dumps((recipe, proof))) < 8000
