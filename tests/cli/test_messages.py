"""Messages about arguments that people try: one line that begins with "error:" and says what to do."""

import sys
from pathlib import Path

import pytest
from tests.end_to_end.tables import bsbatch

from bsbatch_build.cli import main as bsbatch_build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an archive, and with a file in the place of a folder."""
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/1.dcm").write_bytes(b"nothing")
    (tmp_path / "README.md").write_text("a file", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run --archive archive", "--archive is an argument, not an option: bsbatch run ARCHIVE ..."),
        ("report --results out", "--results is an argument, not an option: bsbatch report RESULTS ..."),
        (
            "run archive --model demo --out out --backend cuda",
            "no --backend is called 'cuda'. Did you mean onnxruntime:cuda? The backends are auto, tensorrt, onnxrunt",
        ),
        ("demo --backend winogard", "no --backend is called 'winogard'. Did you mean winograd? The backends are"),
        ("bench archive --backend gpu", "no --backend is called 'gpu'. The backends are auto,"),
        ("run archive --model README.md --out out", "README.md is a file, not a model directory: name a folder"),
        ("run archive --model dem0 --out out", "there is no model dem0: name a folder that bsbatch-build export"),
        ("run archive --model demo --out README.md", "README.md is a file: --out names a folder"),
        ("evaluate archive --labels README.md --out README.md", "README.md is a file: --out names a folder"),
        ("run archive --model demo --out out --cam some", "invalid value for '--cam': 'some' is not one of 'none', "),
        (
            "run archive --model demo --out out --threds 2",
            "no such option: --threds (Possible options: --fresh, --thr",
        ),
        ("run", "missing argument 'archive'. See bsbatch run --help"),
        ("evaluate out", "missing option '--labels'. See bsbatch evaluate --help"),
        ("screen", "no such command 'screen'"),
    ],
)
def test_an_error_in_arguments_is_one_line(arguments: str, message: str, folder: Path) -> None:
    done = bsbatch(*arguments.split(), cwd=folder)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("phantom --out SET", "--out is an argument, not an option: bsbatch-build phantom OUT ..."),
        ("phantom README.md", "README.md is not an empty folder. Name a new one, or empty it first."),
        ("phantom SET --difficulty hard", "'hard' is not a valid Difficulty"),
        ("inspect archive README.md", "README.md is a file: --out names a folder"),
        ("verify demo --backend fake", "--backend fake: there is no such backend of a model"),
    ],
)
def test_the_build_tools_have_the_same_style(
    arguments: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["bsbatch-build", *arguments.split()])

    with pytest.raises(SystemExit) as done:
        bsbatch_build()

    assert done.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
