"""Output folders in which somebody else has put files: one clear message and the right exit code, or no difference."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch, results

from bsbatch.store.folder import read_run_file, write_run_file


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_plain(tmp_path / "archive", 2)
    return tmp_path / "archive"


def outcome(archive: Path, out: Path, *options: str) -> tuple[int, str]:
    done = bsbatch("run", archive, "--backend", "fake", "--out", out, "--quiet", *options)
    assert len(done.stderr.splitlines()) <= 1, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["results", "objects", "overlays", "scans/deeper"])
def test_an_archive_among_the_results_is_refused(archive: Path, tmp_path: Path, name: str) -> None:
    inside = tmp_path / "out" / name
    inside.parent.mkdir(parents=True)
    archive.rename(inside)
    before = sorted(tmp_path.rglob("*"))

    code, message = outcome(inside, tmp_path / "out", "--fresh")

    assert (code, "where the run writes" in message) == (2, True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"config": ' * 50_000,
        "null",
        "[]",
        "\0",
        '{"archive": 7}',
        '{"config": []}',
        '{"status": {}}',
        '{"model": "x"}',
        '{"model": {"training": []}}',
        '{"counts": {"seen": "many"}}',
        '{"counts": null}',
        '{"archive": 7, "config": {}}',
        '{"archive": "a", "config": []}',
        '{"counts": {"seen": 1, "pending": "many"}}',
    ],
)
def test_a_run_file_of_another_kind_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    assert read_run_file(tmp_path) == {}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"archive": "a", "config": {}, "model": None, "counts": {}},
        {"model": {"training": None}, "counts": {"seen": 1, "pending": 2, "gone": 3}, "more": []},
        {"model": {"training": {"images": 7}}},
    ],
)
def test_a_run_file_of_ours_is_read_as_it_was_written_for_people_too(tmp_path: Path, content: dict[str, Any]) -> None:
    write_run_file(tmp_path, content)
    assert read_run_file(tmp_path) == content
    assert (tmp_path / "run.json").read_text() == json.dumps(content, indent=2) + "\n"


def test_a_run_goes_on_beside_a_run_file_of_another_kind(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert outcome(archive, out) == (0, "")
    (out / "run.json").write_text("[" * 100_000, encoding="utf-8")

    assert outcome(archive, out) == (0, "")

    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["status"] == "complete"
    assert len(results(out)) == 2


@pytest.mark.parametrize("name", ["run.json", ".lock"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(archive: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / name)

    assert outcome(archive, out) == (0, "")


def test_a_pipe_in_the_place_of_the_key_is_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out/patient.key")

    code, message = outcome(archive, tmp_path / "out")

    assert (code, "patient.key: not a plain file" in message) == (2, True)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.mkdir()


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_junk(path: Path) -> None:
    path.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")


def make_foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)


@pytest.mark.parametrize("make", [make_pipe, make_folder, make_device, make_junk, make_foreign])
@pytest.mark.parametrize("table", ["results", "objects"])
def test_a_part_that_is_none_is_named_and_nothing_is_lost(
    archive: Path, tmp_path: Path, table: str, make: Callable[[Path], None]
) -> None:
    out = tmp_path / "out"
    assert outcome(archive, out) == (0, "")
    stranger = out / table / "part-000099.parquet"
    make(stranger)

    code, message = outcome(archive, out)

    assert code in {2, 4}
    assert str(stranger) in message or "another configuration" in message
    assert bsbatch("report", out).returncode == 2
    stranger.rmdir() if stranger.is_dir() else stranger.unlink()
    assert outcome(archive, out) == (0, "")
    assert len(results(out)) == 2
