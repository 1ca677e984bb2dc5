import json
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from tests.backends.replacing import use_backend, use_only

from bsbatch.backends.fake import FakeBackend
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError, UsageError
from bsbatch.models.directory import GRAPH, Manifest, Model
from bsbatch.protocols import Images
from bsbatch.records import Inference
from bsbatch.requirements import Requirement
from bsbatch.run import autotune, backend_rates

PLAIN = Effort()
MODEL = Model(Path("nowhere"), Manifest({GRAPH: "f" * 64}, 1, "tiny"))


class Clock:
    """A clock that goes on when a backend works, so that a busy machine decides nothing."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


CLOCK = Clock()


class Slow(FakeBackend):
    """Takes half a second for an image."""

    def infer(self, images: Images) -> Inference:
        CLOCK.now += 0.5 * len(images)
        return super().infer(images)


class Slower(Slow):
    """Takes a second for an image, and ten for its first one."""

    def __enter__(self) -> Self:
        self._is_warm = False
        return self

    def infer(self, images: Images) -> Inference:
        CLOCK.now += 0.5 * len(images) if self._is_warm else 9.0
        self._is_warm = True
        return super().infer(images)


class Broken(FakeBackend):
    """Dies at its first batch."""

    def infer(self, images: Images) -> Inference:
        raise BackendError(f"it broke at {len(images)}")


class Picky(FakeBackend):
    """Takes no model."""

    def __enter__(self) -> Self:
        raise ModelError("not this one")


class Deviceless(FakeBackend):
    """Finds no GPU."""

    def __enter__(self) -> Self:
        raise UsageError("there is no NVIDIA driver here")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and two backends with a clock of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(autotune, "time", CLOCK)
    install(monkeypatch, slower=Slower, slow=Slow)


def install(monkeypatch: pytest.MonkeyPatch, **kinds: type[FakeBackend]) -> None:
    """Make these the only backends, beside the fake one."""
    use_only(monkeypatch, {**kinds, "fake": FakeBackend})
    for name in kinds:
        monkeypatch.setitem(REQUIREMENTS, name, Requirement("numpy"))


def choose(effort: Effort = PLAIN, model: Model = MODEL) -> tuple[str, list[str]]:
    """Choose a backend; also return the remarks to the user."""
    remarks: list[str] = []
    return autotune.choose(model, effort, remarks.append), remarks


def test_the_fastest_is_chosen_and_the_reason_is_shown() -> None:
    name, remarks = choose()

    assert name == "slow"
    assert remarks[0].startswith("Measuring slower and slow")
    assert "slow, the fastest here" in remarks[1]
    assert "slower" in remarks[1]
    assert "scans/s" in remarks[1]


def test_it_is_measured_once_for_a_model_and_machine() -> None:
    _, first = choose()
    _, second = choose()

    assert second == first[1:]


def test_the_rates_are_what_the_backends_do() -> None:
    choose()

    (choice,) = backend_rates.list_choices()

    assert choice.rates == {"slow": pytest.approx(2.0), "slower": pytest.approx(1.0)}


def test_another_model_effort_processor_or_version_is_measured_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    choose()
    other = replace(MODEL, manifest=replace(MODEL.manifest, files={GRAPH: "0" * 64}))
    assert len(choose(model=other)[1]) == 2
    assert len(choose(Effort(threads=1))[1]) == 2
    assert len(choose(Effort(batch_size=1))[1]) == 2
    assert len(backend_rates.list_choices()) == 4
    assert len(backend_rates.list_choices(MODEL.model_id)) == 3
    for name, value in {"processor": "other", "usable_cpus": 99, "version_of": "0"}.items():
        with monkeypatch.context() as patch:
            patch.setattr(backend_rates, name, lambda *_, value=value: value)
            assert backend_rates.list_choices() == []
            assert len(choose()[1]) == 2
    assert len(choose()[1]) == 1


def test_a_backend_that_works_later_is_measured_then(monkeypatch: pytest.MonkeyPatch) -> None:
    use_backend(monkeypatch, "late", Slow, Requirement("pytest", other_problem=lambda: "there is no driver here"))
    assert "late" not in choose()[1][0]
    use_backend(monkeypatch, "late", Slow, Requirement("pytest"))
    assert "late" in choose()[1][0]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "3", "{}", '{"rates": {"slow": 1}, "backend": "slow"}', "\0"]
)
def test_a_damaged_measurement_is_made_anew(content: str, tmp_path: Path) -> None:
    choose()
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(content)

    assert backend_rates.list_choices() == []
    assert [*choose()[1], *choose()[1]][0].startswith("Measuring")
    assert json.loads(kept.read_text())["backend"] == "slow"


@pytest.mark.parametrize(
    "change", [{"backend": "slower"}, {"backend": "fake"}, {"rates": {"gone": 3.0}}, {"rates": {}}]
)
def test_an_edited_measurement_is_made_anew(change: dict[str, object], tmp_path: Path) -> None:
    choose()
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), **change}))

    assert choose()[1][0].startswith("Measuring")


def test_a_backend_that_fails_is_not_chosen_and_the_reason_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken=Broken, picky=Picky, deviceless=Deviceless, slow=Slow)

    name, remarks = choose()

    assert name == "slow"
    (choice,) = backend_rates.list_choices()
    assert list(choice.rates) == ["slow"]
    assert list(choice.refusals) == ["broken", "picky", "deviceless"]
    assert remarks[1:-1] == [
        "Left out: broken: it broke at 1.",
        "Left out: picky: not this one.",
        "Left out: deviceless: there is no NVIDIA driver here.",
    ]


def test_if_all_fail_every_reason_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken=Broken, picky=Picky)

    with pytest.raises(ModelError, match=r"broken: it broke at 1.*picky: not this one"):
        choose()


def test_where_one_is_installed_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken=Broken)

    assert choose() == ("broken", ["Backend: broken, the only one installed."])


def test_a_measurement_that_cannot_be_saved_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bsbatch").write_text("no folder")

    name, remarks = choose()

    assert name == "slow"
    assert "XDG_CACHE_HOME" in remarks[1]
    assert backend_rates.list_choices() == []
