"""Run the command line and read the tables that it wrote."""

import csv
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from unittest import mock

import pyarrow.parquet as pq

from bsbatch.cli import main

Row = dict[str, Any]


def bsbatch(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run ``bsbatch`` in this process, which saves a second of imports; an exception fails the test.

    Arguments, folder, environment, standard streams and log handlers are those of a new process, and are restored. The
    fault handler and the settings of malloc stay those of the tests.
    """
    command = ["bsbatch", *map(str, arguments)]
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as error:
        with _streams(out, error), _surroundings(command, cwd, os.environ if env is None else env):
            code = _exit_code()
        return subprocess.CompletedProcess(command, code, _text_of(out), _text_of(error))


def bsbatch_process(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``bsbatch`` in a new process: for tests of what a process alone shows, and once for each command."""
    command = [sys.executable, "-m", "bsbatch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def _exit_code() -> int:
    code: object = 0
    try:
        main()
    except SystemExit as done:
        code = done.code
    assert isinstance(code, int)
    return code


def _text_of(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()


@contextmanager
def _surroundings(command: list[str], cwd: Path | None, env: Mapping[str, str]) -> Iterator[None]:
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(logging.root, "handlers", []),
        mock.patch.dict(os.environ, dict(env), clear=True),
        mock.patch("faulthandler.enable"),
        mock.patch("bsbatch.host.malloc.keep_freed_memory"),
        chdir(cwd or Path.cwd()),
    ):
        yield


@contextmanager
def _streams(out: IO[str], error: IO[str]) -> Iterator[None]:
    """Let the descriptors 1 and 2 lead to files, for Python, for C libraries and for child processes."""
    with ExitStack() as stack:
        for number, name, file in ((1, "stdout", out), (2, "stderr", error)):
            getattr(sys, name).flush()
            kept = os.dup(number)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
            stream = stack.enter_context(open(number, "w", encoding="utf-8", closefd=False))
            stack.enter_context(mock.patch.object(sys, name, stream))
        yield


def objects(out: Path) -> list[Row]:
    """Rows of ``objects``, sorted by source; without patient keys, which differ between output folders."""
    return sorted(_rows(out / "objects"), key=lambda row: row["source"])


def results(out: Path) -> list[Row]:
    """Rows of ``results``, sorted by examination; without patient keys, which differ between output folders."""
    return sorted(_rows(out / "results"), key=lambda row: row["exam_id"])


def by_source(out: Path) -> dict[str, Row]:
    """Rows of ``objects`` by source."""
    return {row["source"]: row for row in objects(out)}


def expected(phantoms: Path) -> dict[str, Row]:
    """Expected row of every file of a phantom set, by source."""
    return {row["source"]: row for row in read_csv(phantoms / "expected.csv")}


def read_csv(path: Path) -> list[Row]:
    """Rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _rows(folder: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(folder).to_pylist() if any(folder.glob("part-*")) else []
    return [{name: value for name, value in row.items() if name != "patient_key"} for row in rows]


def patient_keys(out: Path) -> dict[str, str | None]:
    """Value of ``patient_key`` by source."""
    rows = pq.read_table(out / "objects", columns=["source", "patient_key"]).to_pylist()
    return {row["source"]: row["patient_key"] for row in rows}
