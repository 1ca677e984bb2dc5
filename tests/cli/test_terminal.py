"""Texts of others on the terminal, and a terminal that is gone."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table
from tests.archives import write_plain
from tests.end_to_end.tables import bsbatch

from bsbatch.cli.terminal import Terminal, printable

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp\udcff"
HARMLESS = r"\x1b]0;owned\x07\x1b[2J\x9b31m\x0d\u202egnp\xff"
CONTROLS = set(map(chr, (*range(10), *range(11, 32), *range(127, 160), 0x202E)))


def test_control_characters_and_undecodable_bytes_become_escapes_on_one_line() -> None:
    assert printable(EVIL) == HARMLESS
    assert printable("a\nb\tc") == r"a\x0ab\x09c"
    assert printable("Grüße, 骨, 😀 [bold]") == "Grüße, 骨, 😀 [bold]"


def test_a_terminal_shows_texts_and_cells_without_their_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    table = Table()
    table.add_row(EVIL, f"[red]{EVIL}")
    console = Terminal(soft_wrap=True)
    console.print(EVIL, markup=False)
    console.print(table)
    assert not CONTROLS & set(shown.getvalue())
    assert shown.getvalue().startswith(HARMLESS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", f"no{EVIL}", "--backend", "fake", "--out", "out"],
        ["run", "archive", f"{EVIL}.dcm", "--backend", "fake", "--out", "out"],
        ["run", "archive", "--backend", "fake", "--out", "out", f"--{EVIL}"],
        ["run", "archive", "--backend", EVIL],
        ["run", "archive", "--threads", EVIL],
        ["run", "archive", "--model", f"no{EVIL}", "--out", "out"],
        ["run", "archive", "--backend", "fake", "--out", "out", "--pseudonymise", f"no{EVIL}"],
        ["report", f"no{EVIL}"],
        [f"no{EVIL}"],
    ],
)
def test_no_message_brings_a_control_character_to_the_terminal(arguments: list[str], tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)

    done = bsbatch(*arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert not CONTROLS & set(done.stdout + done.stderr), ascii(done.stderr)


def test_a_run_into_a_folder_with_an_evil_name_shows_it_harmless(tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 1)

    done = bsbatch("run", tmp_path / "archive", "--backend", "fake", "--out", tmp_path / f"out{EVIL}")

    assert done.returncode == 0, done.stderr
    assert f"out{HARMLESS}/results" in done.stdout
    assert not CONTROLS & set(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("redirection", "archive", "code"),
    [
        ("2>&-", "nowhere", 2),
        ("<&- 2>&-", "archive", 0),
        ("2>/dev/full >/dev/full", "archive", 0),
        ("2>&1 | true", "archive", 0),
    ],
)
def test_a_run_outlives_its_terminal(redirection: str, archive: str, code: int, tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 2)
    command = f"{sys.executable} -m bsbatch run {archive} --backend fake --out out {redirection}"

    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, check=False, timeout=60)

    assert done.returncode == code
    assert (tmp_path / "out/run.json").exists() is (code == 0)
