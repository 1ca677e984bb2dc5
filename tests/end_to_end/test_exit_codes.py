"""Exit codes of runs whose files or examinations failed, and what is said about them."""

from pathlib import Path

import pytest
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """An archive of a sound scan and of three files that were cut in their headers."""
    archive = tmp_path / "archive"
    write_plain(archive, 1)
    (scan,) = archive.rglob("*.dcm")
    for number in range(3):
        (archive / f"{number}.dcm").write_bytes(scan.read_bytes()[:300])
    return archive


def test_files_that_cannot_be_read_count_in_the_exit_code(unreadable: Path, tmp_path: Path) -> None:
    done = bsbatch("run", unreadable, "--backend", "fake", "--out", tmp_path / "out")

    assert done.returncode == 3
    assert "75.0% of the files failed, more than --max-error-rate 0.05: exit code 3." in done.stdout


def test_a_quiet_run_says_why_its_exit_code_is_not_0(unreadable: Path, tmp_path: Path) -> None:
    done = bsbatch("run", unreadable, "--backend", "fake", "--out", tmp_path / "out", "--quiet")

    assert (done.returncode, done.stdout) == (3, "")
    assert "75.0% of the files failed" in done.stderr


def test_a_share_that_is_allowed_is_no_failure(unreadable: Path, tmp_path: Path) -> None:
    options = "--backend", "fake", "--max-error-rate", "0.8", "--quiet"

    done = bsbatch("run", unreadable, *options, "--out", tmp_path / "out")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_demo_refuses_a_folder_with_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")

    done = bsbatch("demo", "--out", tmp_path)

    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
