"""``bsbatch watch`` in a process of its own: files come, are scored once, and a kill loses nothing."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.archives import Scan, dataset_of, write
from tests.end_to_end.tables import bsbatch, objects, results

SETTLE = "0.5"
PATIENCE = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def watching(archive: Path, out: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command: list[str | Path] = [sys.executable, "-m", "bsbatch", "watch", archive, "--out", out, "--backend", "fake"]
    command += ["--settle", SETTLE, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def is_there(out: Path, number: int) -> Callable[[], bool]:
    return lambda: (out / "objects").is_dir() and len(objects(out)) == number


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def test_files_are_screened_as_they_come_and_a_signal_ends_it(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with watching(archive, out) as process:
        write(dataset_of(Scan(1)), archive / "a/1.dcm")
        wait_until(is_there(out, 1))
        write(dataset_of(Scan(2)), archive / "b/2.dcm")
        (archive / "note.txt").write_text("no DICOM")
        wait_until(is_there(out, 3))
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert {row["status"] for row in results(out)} == {"ok"}
    assert json.loads((out / "run.json").read_text())["status"] == "complete"
    assert "every file is accounted for" in text


def test_a_view_whose_partner_comes_late_is_decided_anew(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with watching(archive, out):
        write(dataset_of(Scan(1, "A", 1)), archive / "a")
        wait_until(lambda: is_there(out, 1)() and results(out)[0]["reason"] == "single_view_only")
        write(dataset_of(Scan(1, "P", 2)), archive / "b")
        wait_until(lambda: is_there(out, 2)() and [row["status"] for row in results(out)] == ["ok"])


def test_a_watch_that_is_killed_goes_on_and_its_tables_are_those_of_a_run(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(3):
        with watching(archive, out) as process:
            write(dataset_of(Scan(number)), archive / str(number))
            wait_until(is_there(out, number + 1))
            process.kill()
    assert bsbatch("run", archive, "--out", tmp_path / "once", "--backend", "fake").returncode == 0

    def rows(folder: Path) -> list[tuple[str, float]]:
        return sorted((row["exam_id"], row["p_metastasis"]) for row in results(folder))

    assert rows(out) == rows(tmp_path / "once")
    assert bsbatch("run", archive, "--out", out, "--backend", "fake").returncode == 0
    assert rows(out) == rows(tmp_path / "once")


def test_metrics_count_what_was_committed(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with watching(archive, out, "--metrics-port", str(port)):
        write(dataset_of(Scan(1)), archive / "scan")
        (archive / "note").write_text("no DICOM")
        wait_until(is_there(out, 2))

        def metrics() -> dict[str, float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
                lines = re.findall(r"^(bsbatch_\S+) (\S+)$", page.read().decode(), re.MULTILINE)
            return {name: float(value) for name, value in lines}

        wait_until(lambda: metrics()["bsbatch_scores_per_second"] > 0)
        found = metrics()

    assert found['bsbatch_objects_total{reason="",status="used"}'] == 1
    assert found['bsbatch_objects_total{reason="not_dicom",status="skipped"}'] == 1
    assert found['bsbatch_examinations_total{reason="",status="ok"}'] == 1
    assert found['bsbatch_queue_objects{queue="arriving"}'] == found['bsbatch_queue_objects{queue="arrived"}'] == 0
    assert found['bsbatch_stage_seconds_total{stage="commit"}'] > 0
    assert found["bsbatch_last_commit_timestamp_seconds"] > 1.7e9


def test_only_a_folder_is_watched(tmp_path: Path) -> None:
    for archive in ("s3://bucket", tmp_path / "absent"):
        done = bsbatch("watch", archive, "--out", tmp_path / "out", "--backend", "fake")
        assert (done.returncode, "only a folder can be watched" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_named(archive: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = bsbatch("watch", archive, "--out", tmp_path / "out", "--backend", "fake", "--metrics-port", port)

    assert (done.returncode, f"--metrics-port {port} cannot be used" in done.stderr) == (2, True)
