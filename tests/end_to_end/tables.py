"""Run the command line and read the tables that it wrote."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]


def bsbatch(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``bsbatch`` in a new process."""
    command = [sys.executable, "-m", "bsbatch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def objects(out: Path) -> list[Row]:
    """Rows of ``objects``, sorted by source."""
    return sorted(_rows(out / "objects"), key=lambda row: row["source"])


def results(out: Path) -> list[Row]:
    """Rows of ``results``, sorted by examination."""
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
    return rows
