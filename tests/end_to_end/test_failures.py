"""Faults outside the data end with one clear message and the right exit code."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.archives import write_mixed, write_plain
from tests.end_to_end.tables import bsbatch, bsbatch_process, objects, results

AS_ORDINARY_USER = (
    ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)
"""Root may read everything; without these two capabilities file modes apply to it, too."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failures") / "archive"
    write_plain(folder, 40)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", disk], check=False, stderr=subprocess.DEVNULL)  # a test may have unmounted it


def restricted(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [*AS_ORDINARY_USER, sys.executable, "-m", "bsbatch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def one_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


def test_a_disk_that_fills_up_stops_the_run_and_a_larger_one_resumes_it(
    archive: Path, small_disk: Path, tmp_path: Path
) -> None:
    out = small_disk / "out"
    full = bsbatch_process("run", archive, "--backend", "fake", "--unit-size", "2", "--out", out, "--quiet")
    assert full.returncode == 4
    assert "No space left on device" in one_line(full.stderr)
    assert "run the same command" in full.stderr
    committed = len(results(out))
    assert 0 < committed < 40

    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    resumed = bsbatch_process("run", archive, "--backend", "fake", "--unit-size", "2", "--out", out, "--quiet")
    assert resumed.returncode == 0, resumed.stderr
    calm = tmp_path / "calm"
    bsbatch("run", archive, "--backend", "fake", "--out", calm, "--quiet")
    assert (objects(out), results(out)) == (objects(calm), results(calm))


def test_an_output_folder_without_write_permission_is_refused(archive: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    done = restricted("run", archive, "--backend", "fake", "--out", locked / "out")
    assert done.returncode == 2
    assert "cannot write to" in one_line(done.stderr)


def test_an_unreadable_input_folder_is_refused(tmp_path: Path) -> None:
    dark = tmp_path / "dark"
    dark.mkdir(mode=0o000)
    done = restricted("run", dark, "--backend", "fake", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "Permission denied" in one_line(done.stderr)


def test_a_missing_input_folder_is_refused(tmp_path: Path) -> None:
    done = bsbatch("run", tmp_path / "nowhere", "--backend", "fake", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "No such file" in one_line(done.stderr)


def test_unreadable_files_and_folders_inside_are_rows(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    write_plain(archive, 3)
    (archive / "000/000001.dcm").chmod(0o000)
    (archive / "hidden").mkdir(mode=0o000)
    done = restricted("run", archive, "--backend", "fake", "--out", tmp_path / "out", "--quiet")
    assert done.returncode == 3, done.stderr
    found = {row["source"]: (row["status"], row["reason"]) for row in objects(tmp_path / "out")}
    assert found["000/000001.dcm"] == ("failed", "permission_denied")
    assert found["hidden/"] == ("failed", "permission_denied")
    assert len(found) == 4

    (archive / "000/000001.dcm").chmod(0o644)
    (archive / "hidden").chmod(0o755)
    assert restricted("run", archive, "--backend", "fake", "--out", tmp_path / "out", "--quiet").returncode == 0
    statuses = {row["source"]: row["status"] for row in objects(tmp_path / "out")}
    assert statuses == {f"000/00000{number}.dcm": "used" for number in range(3)}
    assert len(results(tmp_path / "out")) == 3


def test_a_model_directory_without_its_graph_is_refused(archive: Path, twin: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(twin, broken)
    (broken / "model.onnx").unlink()
    done = bsbatch("run", archive, "--model", broken, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no model.onnx" in one_line(done.stderr)
    assert not (tmp_path / "out").exists()


def test_a_tampered_model_is_refused(archive: Path, twin: Path, tmp_path: Path) -> None:
    tampered = tmp_path / "tampered"
    shutil.copytree(twin, tampered)
    with (tampered / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    done = bsbatch("run", archive, "--model", tampered, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "SHA-256 differs" in one_line(done.stderr)


def test_fresh_deletes_nothing_for_a_model_that_cannot_run(archive: Path, twin: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    shutil.copytree(twin, junk)
    (junk / "model.onnx").write_bytes(b"junk")
    manifest = json.loads((junk / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"]["model.onnx"] = hashlib.sha256(b"junk").hexdigest()
    (junk / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    bsbatch("run", archive, "--model", twin, "--out", tmp_path / "out", "--limit", "4")
    before = results(tmp_path / "out")
    done = bsbatch("run", archive, "--model", junk, "--out", tmp_path / "out", "--fresh", "--quiet")
    assert done.returncode == 2
    assert "cannot load" in one_line(done.stderr)
    assert results(tmp_path / "out") == before != []


def test_an_archive_that_is_unmounted_during_a_run_stops_it(small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    write_plain(small_disk / "archive", 40)
    command = ["run", str(small_disk), "--backend", "fake", "--unit-size", "1", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bsbatch", *command, "--out", str(tmp_path / "out"), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for_part(tmp_path / "out", process)
    subprocess.run(["umount", "-l", small_disk], check=True)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "disappeared" in one_line(error)


def test_a_summary_that_cannot_be_printed_does_not_fail_the_run(archive: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [
            sys.executable,
            "-m",
            "bsbatch",
            "run",
            str(archive),
            "--backend",
            "fake",
            "--out",
            str(tmp_path / "o"),
        ]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path / "o")) == 40


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    done = bsbatch("run", tmp_path / "archive", "--backend", "fake", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "holds no file" in one_line(done.stderr)


def test_an_output_folder_inside_the_archive_is_refused(archive: Path) -> None:
    done = bsbatch("run", archive, "--backend", "fake", "--out", archive / "out")
    assert done.returncode == 2
    assert "lies in the archive" in one_line(done.stderr)


def test_a_missing_model_option_names_the_option(archive: Path, tmp_path: Path) -> None:
    done = bsbatch("run", archive, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "--model" in one_line(done.stderr)


def test_too_many_failed_examinations_give_exit_code_3_and_all_rows(tmp_path: Path) -> None:
    write_mixed(tmp_path / "archive", 30)
    strict = bsbatch(
        "run", tmp_path / "archive", "--backend", "fake", "--out", tmp_path / "out", "--max-error-rate", "0.01"
    )
    assert strict.returncode == 3
    assert {row["status"] for row in results(tmp_path / "out")} == {"ok", "failed"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_finishes_the_unit_and_says_how_to_go_on(
    archive: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    command = ["run", str(archive), "--backend", "fake", "--unit-size", "1", "--threads", "1", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bsbatch", *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    _wait_for_part(out, process)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Finishing the unit in hand" in error
    assert 0 < len(results(out)) < 40
    assert bsbatch(*command).returncode == 0
    assert len(results(out)) == 40


def test_a_second_run_into_the_same_folder_is_refused_during_the_first(archive: Path, tmp_path: Path) -> None:
    command = ["run", str(archive), "--backend", "fake", "--unit-size", "1", "--out", str(tmp_path / "out"), "--quiet"]
    first = subprocess.Popen([sys.executable, "-m", "bsbatch", *command])
    _wait_for_part(tmp_path / "out", first)
    first.send_signal(signal.SIGSTOP)
    try:
        second = bsbatch(*command)
    finally:
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=60) == 0
    assert second.returncode == 2
    assert "another run is writing" in one_line(second.stderr)


def _wait_for_part(out: Path, process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    while not list(out.glob("objects/part-*")):
        assert process.poll() is None
        time.sleep(0.01)
