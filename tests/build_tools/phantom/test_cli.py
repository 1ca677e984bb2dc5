import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tests.build_tools.phantom.conftest import WrittenSet
from typer.testing import CliRunner

from bsbatch.errors import UsageError
from bsbatch_build.cli.inspect import inspect
from bsbatch_build.cli.phantom import phantom

app = typer.Typer()
app.command()(phantom)
app.command()(inspect)


def test_phantom_writes_a_set_and_prints_its_summary(tmp_path: Path) -> None:
    out = tmp_path / "set"
    result = CliRunner().invoke(app, ["phantom", str(out), "--studies", "2", "--centre", "A", "--no-clutter"])
    assert result.exit_code == 0
    assert "2 examinations" in result.output
    assert "not for clinical use" in result.output
    assert {path.name for path in out.iterdir()} == {"archive", "masks", "labels.csv", "expected.csv"}


@pytest.mark.parametrize("options", [["--studies", "0"], ["--seed", "-1"], ["--centre", "X"], ["--difficulty", "hard"]])
def test_bad_input_ends_with_one_line(tmp_path: Path, options: list[str]) -> None:
    result = CliRunner().invoke(app, ["phantom", str(tmp_path / "set"), *options])
    assert isinstance(result.exception, UsageError)
    assert len(str(result.exception).splitlines()) == 1
    assert not (tmp_path / "set").exists()


def test_a_folder_in_use_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    result = CliRunner().invoke(app, ["phantom", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert "not an empty folder" in str(result.exception)


def test_inspect_draws_a_sheet_for_each_centre_and_a_table(written: WrittenSet, tmp_path: Path) -> None:
    reference, _ = written.files("used")[0]
    arguments = ["inspect", str(written.folder), str(tmp_path), "--reference", str(reference), "--each", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "centre_A.png",
        "centre_B.png",
        "centre_C.png",
        "statistics.md",
    }
    table = (tmp_path / "statistics.md").read_text()
    assert all(word in table for word in ("centre A", "reference", "GE 670", "zeros"))


def test_inspect_of_another_folder_ends_with_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(tmp_path), str(tmp_path / "out")])
    assert isinstance(result.exception, UsageError)
    assert "holds no" in str(result.exception)


def test_the_commands_load_no_heavy_package() -> None:
    script = (
        "import sys, bsbatch_build.cli.phantom, bsbatch_build.cli.inspect;"
        "print({'numpy', 'cv2', 'pydicom'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
