"""Runs of a backend with worker processes: crashes, signals, and one output folder of two backends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch, results

from bsbatch.backends.requirements import REQUIREMENTS

pytestmark = pytest.mark.skipif(REQUIREMENTS["mnn"].missing is not None, reason="MNN is not installed")
_STUDIES = 60


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workers") / "archive"
    write_plain(folder, _STUDIES)
    return folder


@pytest.fixture
def run(archive: Path, twin: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run in a new process group that has committed its first unit, of one examination."""
    command = [sys.executable, "-m", "bsbatch", *_options(archive, twin, tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            while process.poll() is None and not list(tmp_path.glob("results/part-*")):
                time.sleep(0.01)
            yield process
        finally:
            process.kill()


def _options(archive: Path, model: Path, out: Path, backend: str = "mnn") -> list[str]:
    options = ["--model", model, "--out", out, "--backend", backend, "--threads", "2", "--unit-size", "1", "--quiet"]
    return ["run", str(archive), *map(str, options)]


def _workers(parent: int) -> list[int]:
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    return [int(stat.split()[0]) for stat in stats if int(stat.rpartition(")")[2].split()[1]) == parent]


def test_a_worker_that_crashes_stops_the_run_and_the_same_command_goes_on(
    run: "subprocess.Popen[str]", archive: Path, twin: Path, tmp_path: Path
) -> None:
    workers = _workers(run.pid)
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGSEGV)
    _, message = run.communicate()
    assert run.returncode == 4
    assert "stopped: MNN failed" in message
    assert str(signal.strsignal(signal.SIGSEGV)) in message
    assert 0 < len(results(tmp_path)) < _STUDIES
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]

    assert bsbatch(*_options(archive, twin, tmp_path)).returncode == 0
    assert len({row["exam_id"] for row in results(tmp_path)}) == len(results(tmp_path)) == _STUDIES


def test_ctrl_c_to_the_whole_group_finishes_the_unit_in_hand(run: "subprocess.Popen[str]", tmp_path: Path) -> None:
    os.killpg(run.pid, signal.SIGINT)
    _, message = run.communicate()
    assert run.returncode == 130
    assert "Finishing the unit in hand" in message
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"


def test_a_run_that_is_killed_leaves_no_worker(run: "subprocess.Popen[str]") -> None:
    workers = _workers(run.pid)
    assert len(workers) == 2
    run.kill()
    run.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}/exe").exists() for worker in workers):  # a zombie has none
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_output_may_be_filled_by_two_backends_of_one_precision(archive: Path, twin: Path, tmp_path: Path) -> None:
    mixed, pure = tmp_path / "mixed", tmp_path / "pure"
    assert bsbatch(*_options(archive, twin, mixed, "onnxruntime"), "--limit", "5").returncode == 0
    assert bsbatch(*_options(archive, twin, mixed, "mnn")).returncode == 0
    assert bsbatch(*_options(archive, twin, pure, "onnxruntime")).returncode == 0

    for ours, theirs in zip(results(mixed), results(pure), strict=True):
        assert ours["exam_id"] == theirs["exam_id"]
        assert ours["p_metastasis"] == pytest.approx(theirs["p_metastasis"], abs=1e-5)


def test_auto_reports_its_choice_and_info_shows_it(
    archive: Path, twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # without measurements
    options: list[str | Path] = ["run", archive, "--model", twin, "--limit", "2", "--out"]
    first, second = bsbatch(*options, tmp_path / "one"), bsbatch(*options, tmp_path / "two")

    assert re.search("Measuring (winograd and )?mnn and onnxruntime", first.stderr)
    assert "Measuring" not in second.stderr
    (choice,) = json.loads(bsbatch("info", "--json", "--model", twin).stdout)["auto"]
    for output in (first.stderr, second.stderr):
        assert f"Backend: {choice['backend']}, the fastest here" in output
    assert json.loads((tmp_path / "two/run.json").read_text())["config"]["backend"] == choice["backend"]
    assert choice["backend"] in bsbatch("info").stdout.partition("--backend auto")[2]
