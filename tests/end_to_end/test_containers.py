"""A run over an archive like a hospital's, with zips, tars and compressed objects beside plain files."""

from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.tables import bsbatch, expected, objects, results

from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan

PLACE = {"source_anterior", "source_posterior", "patient_key", "message"}
"""Columns that name files, or depend on the key of a run."""
_FAKE = "--backend", "fake", "--max-error-rate", "1"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same examinations in containers and as plain files."""
    folder = tmp_path_factory.mktemp("containers")
    for name, containers in (("packed", True), ("plain", False)):
        write_set(folder / name, SetPlan(24, 3, containers=containers))
        assert bsbatch("run", folder / name / "archive", "--out", folder / f"out-{name}", *_FAKE).returncode == 0
    return folder


def scores(out: Path) -> dict[str, dict[str, Any]]:
    return {row["exam_id"]: {name: value for name, value in row.items() if name not in PLACE} for row in results(out)}


def test_the_archive_has_six_zips_three_tars_and_six_compressed_objects(sets: Path) -> None:
    names = [path.name for path in (sets / "packed/archive").rglob("*") if path.is_file()]

    assert len([name for name in names if name.endswith(".zip")]) == 6
    assert len([name for name in names if name.endswith((".tar", ".tar.gz", ".tar.zst"))]) == 3
    assert len([name for name in names if name.endswith(".gz") and not name.endswith(".tar.gz")]) == 6
    assert len(names) > 15


def test_every_object_has_its_expected_row_and_every_scan_the_score_of_the_plain_file(sets: Path) -> None:
    found = {row["source"]: (row["status"], row["reason"] or "") for row in objects(sets / "out-packed")}

    assert found == {source: (row["status"], row["reason"]) for source, row in expected(sets / "packed").items()}
    assert scores(sets / "out-packed") == scores(sets / "out-plain")


def test_a_container_alone_is_an_archive(sets: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((sets / "packed/archive").rglob("*.tar*"))):
        out = tmp_path / str(number)

        assert bsbatch("run", path, "--out", out, *_FAKE).returncode == 0

        prefix = path.relative_to(sets / "packed/archive").as_posix() + "!/"
        rows = {row["source"].removeprefix(f"{path.name}!/") for row in objects(out)}
        whole = {row["source"] for row in objects(sets / "out-packed")}
        assert rows == {source.removeprefix(prefix) for source in whole if source.startswith(prefix)}


def test_a_second_run_reads_failed_objects_alone_and_ends_with_the_same_rows(sets: Path) -> None:
    out = sets / "out-packed"
    before = objects(out), results(out)

    assert bsbatch("run", sets / "packed/archive", "--out", out, *_FAKE).returncode == 0

    assert sorted(map(str, objects(out))) == sorted(map(str, before[0]))
    assert sorted(map(str, results(out))) == sorted(map(str, before[1]))
