"""Runs over buckets end as runs over folders, through outages, kills and changes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.archives import write_mixed
from tests.end_to_end.histories import differences, play
from tests.end_to_end.tables import Row, bsbatch, bsbatch_process, objects, results
from tests.sources.faults import Proxy, after, everywhere
from tests.sources.storages import BucketStorage, read_folder
from tests.stores import S3

pytest_plugins = ["tests.store_fixtures"]

OPTIONS = ["--backend", "fake", "--quiet", "--max-error-rate", "1", "--unit-size", "2"]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_mixed(tmp_path / "archive", 12)
    return tmp_path / "archive"


@pytest.fixture
def expected(archive: Path, tmp_path: Path) -> tuple[list[Row], list[Row]]:
    """Rows of a run over the folder."""
    bsbatch("run", archive, "--out", tmp_path / "expected", *OPTIONS)
    return rows(tmp_path / "expected")


def mirror(prefix: str, folder: Path) -> str:
    """Store the files of a folder below a prefix; return its address."""
    storage = BucketStorage(S3, prefix)
    storage.store(read_folder(folder))
    return storage.address


def rows(out: Path) -> tuple[list[Row], list[Row]]:
    """Rows of both tables, but for the versions of objects, which differ between sources."""
    return [{**row, "version": None} for row in objects(out)], results(out)


def test_a_dry_run_and_a_run_in_processes_of_their_own_end(
    faulty: Proxy, archive: Path, expected: tuple[list[Row], list[Row]], prefix: str, tmp_path: Path
) -> None:
    address = mirror(prefix, archive)
    for options in (["--dry-run"], ["--out", str(tmp_path / "out")]):
        done = bsbatch_process("run", address, *options, *OPTIONS[: -2 if "--dry-run" in options else None])
        assert (done.returncode, done.stderr) == (0, "")

    assert rows(tmp_path / "out") == expected


def test_a_run_through_outages_ends_with_the_rows_of_an_undisturbed_one(
    faulty: Proxy, archive: Path, expected: tuple[list[Row], list[Row]], prefix: str, tmp_path: Path
) -> None:
    address, out = mirror(prefix, archive), tmp_path / "out"
    codes, good = list[int](), 0
    while not codes or codes[-1] != 0:
        faulty.rule = after(good, everywhere(None))
        done = bsbatch("run", address, "--out", out, *OPTIONS)
        codes.append(done.returncode)
        assert "nothing" not in done.stderr
        good += 7

    assert {2, 4} <= set(codes)  # not there at the start, and lost in the middle
    assert rows(out) == expected


def test_a_run_that_is_killed_goes_on(
    faulty: Proxy, archive: Path, expected: tuple[list[Row], list[Row]], prefix: str, tmp_path: Path
) -> None:
    address, out = mirror(prefix, archive), tmp_path / "out"
    command = [sys.executable, "-m", "bsbatch", "run", address, "--out", str(out), *OPTIONS]
    for parts in (1, 3):
        with subprocess.Popen(command) as process:
            while len(list(out.glob("objects/part-*"))) < parts and process.poll() is None:
                time.sleep(0.01)
            process.kill()

    assert bsbatch("run", address, "--out", out, *OPTIONS).returncode == 0
    assert rows(out) == expected


@pytest.mark.parametrize("seed", range(4))
def test_any_history_of_a_bucket_ends_as_one_run_over_its_last_state(
    seed: int, faulty: Proxy, prefix: str, tmp_path: Path
) -> None:
    assert differences(play(tmp_path, seed, BucketStorage(S3, prefix)), tmp_path / "fresh") == []
