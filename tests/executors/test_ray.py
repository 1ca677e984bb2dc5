"""What travels to workers and back; tests/end_to_end/test_cluster.py runs a cluster."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.archives import write_plain

from bsbatch.config import BackendName, Cluster, RunConfig
from bsbatch.errors import MissingPackageError, UsageError
from bsbatch.executors import ray
from bsbatch.executors.dispatch import Answer
from bsbatch.host.workers import Isolation
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Failure, Outcome, Prediction, Quality, Unit
from bsbatch.run.assembly import make_intake
from bsbatch.run.report import SilentReporter
from bsbatch.run.setup import MAX_UNIT, resolve
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_LARGEST = 100 * 1024
"""Bytes of a result that Ray passes along with its call."""


@pytest.fixture(scope="module")
def unit(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Unit:
    """The largest unit, of phantoms of all dialects under further names."""
    folder = tmp_path_factory.mktemp("units")
    setup = resolve(RunConfig(phantoms / "archive", folder / "out", backend=BackendName.FAKE), SilentReporter())
    with Isolation() as isolation:
        (found,) = make_intake(setup, Catalog(), Telemetry(), isolation).units(MAX_UNIT, None)
    again = -(-MAX_UNIT // len(found.exams))
    return Unit((found.exams * again)[:MAX_UNIT], found.settled)


def outcomes_of(unit: Unit) -> tuple[Outcome, ...]:
    quality = Quality(1e6, 2e6, 3.5, 4.5, 0.25, 0, ("hot_spot",), "0123456789abcdef" * 2)
    failed = Failure(unit.exams[0], Verdict.of(Stage.PIXELS, Reason.ALL_ZERO))
    return failed, *(Prediction(exam, quality, 0.25, None, -1.1, 3.0) for exam in unit.exams[1:])


def test_units_and_answers_are_smaller_than_the_limit_of_a_call(unit: Unit) -> None:
    assert len(unit.exams) == MAX_UNIT
    assert len(ray.pack(unit.exams)) < _LARGEST
    assert len(ray.pack_answer(outcomes_of(unit), {"infer": (1.0, 2)})) < _LARGEST


def test_an_answer_comes_back_as_it_was(unit: Unit) -> None:
    assert ray.unpack(ray.pack(unit.exams)) == unit.exams
    packed = ray.pack_answer(outcomes_of(unit), {"infer": (1.0, 2)})
    assert ray.unpack_answer(packed, unit.exams) == (outcomes_of(unit), {"infer": (1.0, 2)})


class LateRay:
    """As much of Ray as a pool needs whose only worker is ended and answers afterwards."""

    exceptions = SimpleNamespace(RayError=OSError)

    def __init__(self) -> None:
        self.results: dict[str, bytes | OSError] = {}
        self.killed: list[object] = []

    def cluster_resources(self) -> dict[str, float]:
        return {}

    def wait(self, calls: list[str], num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        del num_returns, timeout
        return [call for call in calls if call in self.results], [call for call in calls if call not in self.results]

    def get(self, call: str) -> bytes:
        result = self.results.pop(call)
        if isinstance(result, OSError):
            raise result
        return result

    def kill(self, actor: object, *, no_restart: bool) -> None:
        assert no_restart
        self.killed.append(actor)


def test_a_late_answer_of_a_worker_that_was_ended_reaches_the_dispatcher_and_its_end_does_not(unit: Unit) -> None:
    engine = LateRay()
    pool = ray.RayPool(engine, b"", Cluster(workers=1), _actors={1: "actor"})
    pool._calls.update({"first": (1, 7, unit.exams), "second": (1, 8, unit.exams)})
    pool._look_at, pool._target = float("inf"), 0

    pool.end(1)
    engine.results = {"first": ray.pack_answer(outcomes_of(unit), {}), "second": OSError("it has ended")}

    assert pool.wait(0) == [Answer(1, 7, outcomes_of(unit))]
    assert engine.killed == ["actor"]
    assert not pool._calls


def test_without_ray_the_error_is_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsbatch.requirements.find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match=r'pip install "bsbatch\[ray\]"'):
        ray.connect(None)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (None, r"no Ray cluster can be joined \(Version mismatch: Ray: 2.60.0\): start one with ray start --head"),
        (
            "head",
            r"at head cannot be joined \(Version mismatch: Ray: 2.60.0\): the driver's machine must be one of its",
        ),
    ],
)
def test_a_cluster_that_refuses_is_an_error_with_its_reason(
    address: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver of other versions, and one beside the nodes, need other machines."""

    def init(*_: object, **__: object) -> None:
        raise RuntimeError("Version mismatch:\n    Ray: 2.60.0\n")

    fake = SimpleNamespace(init=init, exceptions=SimpleNamespace(RayError=RuntimeError))
    monkeypatch.setattr("bsbatch.executors.ray.import_module", lambda _: fake)
    monkeypatch.setattr("bsbatch.executors.ray.require", lambda *_, **__: None)
    with pytest.raises(UsageError, match=words):
        ray.connect(address)


@pytest.mark.parametrize(
    ("cluster", "fitting", "possible"),
    [
        (Cluster(), 6, 6),
        (Cluster(worker_cpus=2), 2, 2),
        (Cluster(worker_cpus=4), 0, 0),
        (Cluster(worker_gpus=1), 1, 1),
        (Cluster(workers=9), 6, 9),
    ],
)
def test_workers_fit_that_have_room_on_one_node(cluster: Cluster, fitting: int, possible: int) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": True, "Resources": {"memory": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    pool = ray.RayPool(SimpleNamespace(nodes=lambda: nodes), b"", cluster)
    assert (pool.fitting(), pool.possible) == (fitting, possible)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"workers": 0}, "--workers"),
        ({"worker_cpus": 0}, "--worker-cpus"),
        ({"worker_gpus": -1}, "--worker-gpus"),
        ({"patience": 0}, "--patience"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Cluster(**settings)  # type: ignore[arg-type]  # numbers of fields that take them


def test_the_backend_of_gpus_elsewhere_must_be_named(tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)
    with pytest.raises(UsageError, match="name the backend"):
        RunConfig(tmp_path / "archive", tmp_path / "out", Path("demo"), cluster=Cluster(worker_gpus=1))
