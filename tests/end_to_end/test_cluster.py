"""Runs on a Ray cluster of two nodes on the loopback address, whose parts are killed."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.archives import Scan, dataset_of, write, write_mixed
from tests.clusters import LoopbackCluster, loopback_cluster
from tests.end_to_end.tables import Row, bsbatch, objects, results
from tests.executors.dangerous import pids_of

from bsbatch.host.threads import Pending, run_in_background

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason='pip install "bsbatch[ray]"'),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
_DANGEROUS = "from tests.executors.dangerous import main; main()"
_FAKE = "--backend", "fake", "--unit-size", "4", "--max-error-rate", "1", "--quiet"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LoopbackCluster]:
    with loopback_cluster() as running:
        running.add_node()
        yield running


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "archive"
    write_mixed(folder, 120)
    return folder


@pytest.fixture(scope="module")
def local(archive: Path) -> tuple[list[Row], list[Row]]:
    """The rows of an undisturbed run in one process."""
    out = archive.with_name("local")
    bsbatch("run", str(archive), "--out", str(out), *_FAKE)
    return rows(out)


def rows(out: Path) -> tuple[list[Row], list[Row]]:
    return (
        sorted(results(out), key=lambda row: str(row["exam_id"])),
        sorted(objects(out), key=lambda row: str(row["source"])),
    )


def start(
    cluster: LoopbackCluster, archive: Path, out: Path, *options: str, stderr: int = subprocess.PIPE
) -> "subprocess.Popen[str]":
    ray = "--executor", "ray", "--ray-address", cluster.address
    command = [sys.executable, "-c", _DANGEROUS, "run", str(archive), "--out", str(out), *ray, *(options or _FAKE)]
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    environment = inherited | {"TERM": "xterm"}
    return subprocess.Popen(command, stderr=stderr, text=True, env=environment, start_new_session=True)


@contextmanager
def terminal() -> Iterator[tuple[int, Pending[str]]]:
    """Open a terminal of 80 columns; yield the end for a process, and all that is written to it."""
    screen, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read() -> str:
        parts = list[bytes]()
        with suppress(OSError):  # all ends are closed
            while part := os.read(screen, 1 << 16):
                parts.append(part)
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(parts).decode())

    written = run_in_background(read)
    try:
        yield end, written
    finally:
        os.close(end)
        written.result(60)
        os.close(screen)


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for the end of a run; return its messages."""
    try:
        _, messages = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, messages
    return messages


def await_parts(process: "subprocess.Popen[str]", out: Path, number: int) -> None:
    while len(list(out.glob("objects/part-*"))) < number and process.poll() is None:
        time.sleep(0.02)
    if process.poll() is not None:
        raise AssertionError(f"the run ended before it could be disturbed: {process.communicate()[1]}")


def counts(out: Path) -> dict[str, int]:
    run = json.loads((out / "run.json").read_text())
    assert run["config"]["executor"] == "ray"
    found: dict[str, int] = run["cluster"]
    return found


def test_the_rows_are_those_of_one_process_with_a_model_and_heat_maps(
    cluster: LoopbackCluster, phantoms: Path, tmp_path: Path
) -> None:
    words = "--model demo --backend onnxruntime --max-error-rate 1 --quiet --limit 4 --cam all --threads 1"
    options = words.split()
    ends = start(cluster, phantoms / "archive", tmp_path / "ray", *options)
    bsbatch("run", str(phantoms / "archive"), "--out", str(tmp_path / "local"), *options)
    finish(ends)
    names = [sorted(path.name for path in (tmp_path / out / "overlays").iterdir()) for out in ("ray", "local")]
    assert names[0] == names[1]
    assert names[0]
    ray, local = ({row["exam_id"]: row for row in results(tmp_path / out)} for out in ("ray", "local"))
    assert ray == local
    assert sum(row["p_metastasis"] is not None for row in ray.values()) >= 3


def test_a_worker_and_then_a_node_that_are_killed_cost_no_row(
    cluster: LoopbackCluster,
    archive: Path,
    local: tuple[list[Row], list[Row]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with terminal() as (end, written):
        process = start(cluster, archive, tmp_path / "out", *_FAKE[:-1], stderr=end)
        await_parts(process, tmp_path / "out", 2)
        os.kill(int(next(pids_of(tmp_path / "out").iterdir()).name), signal.SIGKILL)
        await_parts(process, tmp_path / "out", 6)
        cluster.kill_node()
        finish(process)
    messages = written.result()
    assert rows(tmp_path / "out") == local
    found = counts(tmp_path / "out")
    assert found["lost"] >= 1
    assert "is lost" in messages
    summary = f"Workers: {found['workers']}, lost: {found['lost']}, units done again: {found['again']}\n"
    assert summary in capfd.readouterr().out
    bars = [line for line in re.split(r"[\r\n]+", messages) if re.search(r"scored .*/s \d worker", line)]
    assert set(map(len, bars)) <= {79, 80}
    assert {"1 worker", "2 workers"} <= {word for line in bars for word in re.findall(r"/s (\d workers?)", line)}
    cluster.add_node()


def test_a_driver_that_is_killed_leaves_no_worker_and_one_process_goes_on(
    cluster: LoopbackCluster, archive: Path, local: tuple[list[Row], list[Row]], tmp_path: Path
) -> None:
    process = start(cluster, archive, tmp_path / "out")
    await_parts(process, tmp_path / "out", 3)
    process.kill()
    process.communicate()
    done = len(results(tmp_path / "out"))
    assert 0 < done < len(local[0])
    bsbatch("run", str(archive), "--out", str(tmp_path / "out"), *_FAKE)
    assert rows(tmp_path / "out") == local
    _await_end(pids_of(tmp_path / "out"))


def test_ctrl_c_finishes_the_units_in_hand_leaves_no_worker_and_the_same_command_goes_on(
    cluster: LoopbackCluster, archive: Path, local: tuple[list[Row], list[Row]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(cluster, archive, out)
    await_parts(process, out, 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Finishing the unit in hand" in messages
    assert 0 < len(results(out)) < len(local[0])
    run = json.loads((out / "run.json").read_text())
    assert (run["status"], run["cluster"]["lost"], run["cluster"]["again"]) == ("interrupted", 0, 0)
    _await_end(pids_of(out))
    finish(start(cluster, archive, out))
    assert rows(out) == local


def test_a_second_ctrl_c_stops_at_once_even_if_no_worker_answers(
    cluster: LoopbackCluster, archive: Path, local: tuple[list[Row], list[Row]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(cluster, archive, out)
    await_parts(process, out, 3)
    for path in pids_of(out).iterdir():
        os.kill(int(path.name), signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(2)
    assert process.poll() is None, "answers were under way"
    os.killpg(process.pid, signal.SIGINT)
    _, messages = process.communicate(timeout=30)  # patience is 300 s
    assert process.returncode == 130
    assert "Traceback" not in messages
    _await_end(pids_of(out))
    bsbatch("run", str(archive), "--out", str(out), *_FAKE)
    assert rows(out) == local


def test_an_examination_that_kills_its_workers_fails_and_all_others_are_scored(
    cluster: LoopbackCluster, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    for study in range(12):
        write(dataset_of(Scan(study)), archive / ("poison" if study == 5 else f"{study:02d}"))
    finish(start(cluster, archive, tmp_path / "out"))
    found = {row["source_anterior"]: row["reason"] for row in results(tmp_path / "out")}
    assert found == {**{f"{study:02d}": None for study in range(12) if study != 5}, "poison": "worker_lost"}
    assert 3 <= counts(tmp_path / "out")["lost"] <= 5
    _await_end(pids_of(tmp_path / "out"))


def test_the_bench_measures_whole_runs_once_all_workers_are_ready(
    cluster: LoopbackCluster, archive: Path, tmp_path: Path
) -> None:
    ray = "--executor", "ray", "--ray-address", cluster.address
    pace = "--warmup", "0", "--duration", "0", "--iterations", "2"
    done = bsbatch("bench", archive, "--backend", "fake", "--json", tmp_path / "bench.json", *pace, *ray)
    assert done.returncode == 0, done.stderr
    assert "Workers: 2, lost: 0, units done again: 0\n" in done.stdout
    (row,) = json.loads((tmp_path / "bench.json").read_text())["measurements"]
    assert row["cluster"]["workers"] == 2
    assert row["items"] == 2 * 119
    assert {"header", "infer", "commit"} <= set(row["shares"])
    few = bsbatch("bench", archive, "--backend", "fake", "--workers", "3", "--patience", "5", *pace, *ray)
    assert few.returncode == 4
    assert "2 of 3 workers were ready within 5 s" in few.stderr


def test_what_ray_cannot_start_is_an_error_with_advice(cluster: LoopbackCluster, archive: Path, tmp_path: Path) -> None:
    gone = bsbatch(
        "run", str(archive), "--out", str(tmp_path), *_FAKE, "--executor", "ray", "--ray-address", "127.0.0.1:9"
    )
    assert gone.returncode == 2
    assert "ray start --head" in gone.stderr
    large = start(
        cluster, archive, tmp_path, "--backend", "fake", "--worker-cpus", "99", "--patience", "3", "--workers", "1"
    )
    _, messages = large.communicate(timeout=60)
    assert large.returncode == 4
    assert "has room for a worker of 99 CPUs" in messages
    assert "no worker was ready within 3 s" in messages


def _await_end(pids: Path) -> None:
    """Wait until no worker of a run is left."""
    deadline = time.monotonic() + 30
    while any(Path("/proc", path.name).exists() for path in pids.iterdir()):
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.1)
