"""How long a run takes on this machine."""

from pathlib import Path

import pytest
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch

from bsbatch.config import Effort
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import Model
from bsbatch.run.backend_rates import Choice, Situation, remember
from bsbatch.run.forecast import Rate, duration, find_rate


@pytest.fixture
def measured(twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Identity of a model whose rates were measured with one thread."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model_id = Model.load(twin, VERSION).model_id
    rates = {"winograd": 0.5, "onnxruntime": 0.25}
    remember(Choice(Situation.now(model_id, Effort(threads=1)), "winograd", rates, "2026-11-30", {"mnn": "it differs"}))
    return model_id


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 s"),
        (53.4, "53 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7_199.0, "120 min"),
        (12_600.0, "3.5 h"),
        (172_799.0, "48.0 h"),
        (190_000.0, "2.2 days"),
    ],
)
def test_a_time_is_shown_in_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_rate_is_that_of_the_backend_model_and_effort(measured: str) -> None:
    effort = Effort(threads=1)

    assert find_rate(measured, "auto", effort) == Rate("winograd", 0.5, "2026-11-30")
    assert find_rate(measured, "onnxruntime", effort) == Rate("onnxruntime", 0.25, "2026-11-30")
    assert find_rate(None, "auto", Effort()) == Rate("winograd", 0.5, "2026-11-30")
    assert find_rate(measured, "mnn", effort) is None
    assert find_rate(measured, "auto", Effort()) is None
    assert find_rate("0" * 16, "auto", effort) is None


@pytest.mark.usefixtures("measured")
def test_a_plan_says_how_long_scoring_takes(twin: Path, tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 40)
    command = "run", tmp_path / "archive", "--dry-run"

    shown = bsbatch(*command, "--model", twin, "--threads", "1").stdout
    other = bsbatch(*command, "--model", twin, "--threads", "2").stdout

    assert "To be scored: 40 examinations; about 80 s (winograd, 0.50 scans/s), measured 2026-11-30." in shown
    assert "To be scored: 40 examinations; how long that takes here is measured by the first run" in other
    assert "about 40 s" not in bsbatch(*command, "--limit", "10").stdout
    assert "To be scored: 10 examinations; about 20 s" in bsbatch(*command, "--limit", "10").stdout


@pytest.mark.usefixtures("measured")
def test_the_start_of_a_run_says_how_long_it_takes_at_most(twin: Path, tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 3)
    (tmp_path / "archive/note.txt").write_text("no DICOM", encoding="utf-8")
    command = "run", tmp_path / "archive", "--model", twin, "--backend", "onnxruntime", "--out", tmp_path / "out"

    first = bsbatch(*command, "--threads", "1")
    again = bsbatch(*command, "--threads", "1")
    unknown = bsbatch(*command, "--threads", "1", "--fresh", env={"XDG_CACHE_HOME": str(tmp_path / "empty")})

    words = "4 files to do: at most 16 s (onnxruntime, 0.25 scans/s), if each were an examination"
    assert first.returncode == 0, first.stderr
    assert words in " ".join(first.stderr.split())
    assert "files to do" not in again.stderr + unknown.stderr
