"""``bsbatch report`` over the results of a real run."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch, bsbatch_process


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_plain(folder / "archive", 3)
    done = bsbatch("run", folder / "archive", "--backend", "fake", "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


def test_the_page_is_written_and_named_and_made_again_to_the_byte(out: Path, tmp_path: Path) -> None:
    done = bsbatch_process("report", out)
    assert done.returncode == 0, done.stderr
    assert f"Report: {out / 'report.html'}" in done.stdout
    assert "Research use only" in done.stdout
    again = bsbatch("report", out / "results", "--out", tmp_path / "again.html")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.html").read_bytes() == (out / "report.html").read_bytes()


def test_a_later_run_says_that_the_page_shows_an_earlier_state(tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 2)
    out = tmp_path / "out"
    words = f"report.html shows an earlier state of the tables: bsbatch report {out} writes it anew"

    def is_said(*options: str) -> bool:
        done = bsbatch("run", tmp_path / "archive", "--backend", "fake", "--out", out, *options)
        return "".join(words.split()) in "".join(done.stderr.split())

    assert not is_said()
    assert bsbatch("report", out).returncode == 0
    assert not is_said()
    write_plain(tmp_path / "archive/more", 1)
    assert is_said("--quiet")
    assert is_said()
    assert bsbatch("report", out).returncode == 0
    assert not is_said()
    assert is_said("--fresh")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--labels", "nowhere.csv"), "nowhere.csv"),
        (("--masks", "."), "--masks needs --labels"),
        (("--model", "nowhere"), "nowhere"),
        (("--out", "nowhere/page.html"), "choose another --out"),
    ],
)
def test_unusable_options_end_with_one_message(out: Path, options: tuple[str, str], words: str) -> None:
    done = bsbatch("report", out, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr


def test_a_folder_without_a_run_is_a_usage_error(tmp_path: Path) -> None:
    done = bsbatch("report", tmp_path)
    assert done.returncode == 2
    assert "holds no run" in done.stderr


@pytest.mark.parametrize("package", ["jinja2", "vl_convert"])
def test_a_missing_package_answers_with_its_install_line(out: Path, package: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from bsbatch.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script, "report", out], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f'{package} is not installed: pip install "bsbatch[report]"' in done.stderr
