"""Output on the terminal."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.archives import PATIENT_NAME, write_mixed
from tests.end_to_end.tables import bsbatch, bsbatch_process, objects, results
from tests.graphs import SOFTMAX, graph_of, write_model

import bsbatch as package
from bsbatch.cli.installation import CODECS, availability, inspect, show
from bsbatch.config import OFFERED_BACKENDS, Effort
from bsbatch.native import library
from bsbatch.requirements import Requirement
from bsbatch.run.backend_rates import Choice, Situation


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "archive"
    write_mixed(folder, 12)
    return folder


def test_version() -> None:
    assert bsbatch_process("--version").stdout.strip() == f"bsbatch {package.__version__}"


def test_help_names_every_exit_code() -> None:
    text = " ".join(bsbatch("run", "--help").stdout.split())
    for words in ("0 done", "2 usage", "3 too many failed", "4 stopped", "130 interrupted"):
        assert words in text


def test_the_summary_fits_80_columns_and_adds_up(archive: Path, tmp_path: Path) -> None:
    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out", env={**os.environ, "COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert max(map(len, lines[:-3])) <= 80
    counts = [(match[1], int(match[2])) for line in lines if (match := re.match(r" {0,2}(\S[\w ]*?) +(\d+)$", line))]
    names = ["files seen", "used", "failed", "skipped", "examinations", "scored", "failed"]
    assert [name for name, _ in counts] == names
    seen, used, broken, skipped, examinations, scored, failed = (count for _, count in counts)
    assert seen == used + broken + skipped == len(objects(tmp_path / "out"))
    assert examinations == scored + failed == len(results(tmp_path / "out"))
    assert "Research use only" in done.stdout


def test_quiet_prints_nothing(archive: Path, tmp_path: Path) -> None:
    options = ("--backend", "fake", "--out", tmp_path / "out", "--quiet", "--max-error-rate", "1")
    done = bsbatch_process("run", archive, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_progress_is_not_a_bar_without_a_terminal(archive: Path, tmp_path: Path) -> None:
    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out")
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--threshold", "1.5"), ("--max-error-rate", "-1"), ("--limit", "0"), ("--threads", "0"), ("--batch-size", "0")],
)
def test_values_out_of_range_are_usage_errors(archive: Path, tmp_path: Path, option: str, value: str) -> None:
    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out", option, value)
    assert done.returncode == 2
    assert option in done.stderr
    assert not (tmp_path / "out").exists()


def test_info_shows_what_works_and_why_the_rest_does_not() -> None:
    facts = json.loads(bsbatch("info", "--json").stdout)
    assert facts["bsbatch"] == package.__version__
    assert facts["backends"]["onnxruntime"] == {"works": True, "why_not": None}
    assert facts["cpus"] >= 1
    assert isinstance(facts["compiled_part"], bool)
    assert {"pycuda", "tensorrt", "tensorrt-rtx", "nvidia driver"} <= facts["packages"].keys()
    assert set(facts["backends"]) == set(OFFERED_BACKENDS[1:])
    shown = bsbatch_process("info").stdout
    assert "onnxruntime" in shown
    assert "compiled part" in shown


def test_info_shows_why_a_backend_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "MNN cannot use this model (a probability differs)"
    choice = Choice(Situation.now("f" * 16, Effort()), "winograd", {"winograd": 2.0}, "2026-11-30", {"mnn": reason})

    show(Console(width=200), inspect([choice]))

    assert f"mnn left out: {reason}" in capsys.readouterr().out


def test_info_shows_what_the_scores_of_a_model_mean(twin: Path, tmp_path: Path) -> None:
    plain = write_model(tmp_path / "plain", graph_of(SOFTMAX))
    facts = json.loads(bsbatch("info", "--json", "--model", twin).stdout)["model"]

    assert (facts["is_calibrated"], facts["distance_limit"]) == (False, 1e9)
    shown = " ".join(bsbatch("info", "--model", plain).stdout.split())
    assert "scores not calibrated: no probabilities" in shown
    assert "the column distance is null" in shown


def test_info_shows_install_lines_with_their_extra(capsys: pytest.CaptureFixture[str]) -> None:
    needed = Requirement("no_such_package", 'pip install "bsbatch[codecs]"')
    show(Console(width=200), replace(inspect([]), backends=availability({"x": needed})))
    assert 'no_such_package is missing: pip install "bsbatch[codecs]"' in capsys.readouterr().out


def test_info_says_why_the_compiled_part_is_not_in_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "VERSION", 99)
    show(Console(width=400), inspect([]))
    assert "not in use, numpy replaces it" in capsys.readouterr().out


@pytest.mark.parametrize("needed", CODECS.values(), ids=CODECS)
def test_a_codec_comes_with_the_extra(needed: Requirement) -> None:
    assert "bsbatch[codecs]" in needed.install


def test_no_patient_data_is_printed_or_written(archive: Path, tmp_path: Path) -> None:
    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out")
    text = done.stdout + done.stderr + repr(objects(tmp_path / "out")) + repr(results(tmp_path / "out"))
    text += (tmp_path / "out/run.json").read_text(encoding="utf-8")
    for secret in (PATIENT_NAME, "SECRET-ID", "19440229"):
        assert secret not in text


def test_thread_and_batch_choices_change_no_row(archive: Path, tmp_path: Path) -> None:
    bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "one", "--threads", "1", "--batch-size", "1")
    bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "two", "--threads", "3", "--batch-size", "7")
    assert results(tmp_path / "one") == results(tmp_path / "two")
    assert objects(tmp_path / "one") == objects(tmp_path / "two")
