"""What the output folder refuses, with the error that says so, and what it deletes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bsbatch.errors import BsbatchError, ConfigMismatchError, OutputError, UsageError
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.catalog import open_catalog
from bsbatch.store.folder import (
    check_output,
    clear_output,
    lock_output,
    open_output,
    open_patient_key,
    overlays_of,
    read_run_file,
    write_run_file,
)
from bsbatch.store.tables import Provenance

ARCHIVE = Path("/nowhere/archive")


def lock(out: Path) -> None:
    with lock_output(out):
        pass


@pytest.mark.parametrize(
    ("name", "act", "error"),
    [
        (".lock", lock, UsageError),
        ("patient.key", open_patient_key, UsageError),
        ("run.json", lambda out: write_run_file(out, {}), OutputError),
        ("objects/part-000000.parquet", clear_output, UsageError),
        ("results/.part-000000.parquet", lambda out: ParquetSink(out, Provenance("hash", "model", 0.5)), OutputError),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_an_error_that_names_it(
    name: str, act: Callable[[Path], object], error: type[BsbatchError], tmp_path: Path
) -> None:
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(error, match=str(tmp_path)):
        act(tmp_path)


def test_a_leftover_that_cannot_be_removed_stops_the_next_run(tmp_path: Path) -> None:
    ParquetSink(tmp_path, Provenance("hash", "model", 0.5)).finish()
    (tmp_path / "objects/.part-000001.parquet").mkdir()
    with pytest.raises(OutputError, match=str(tmp_path)):
        open_catalog(tmp_path, [])


def test_an_output_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to"):
        open_output(tmp_path / "file/out", ARCHIVE)


def test_an_output_folder_is_made_and_stays_empty(tmp_path: Path) -> None:
    out = open_output(tmp_path / "new/out", ARCHIVE)
    assert out == tmp_path / "new/out"
    assert list(out.iterdir()) == []


def test_a_folder_has_one_lock_at_a_time(tmp_path: Path) -> None:
    with lock_output(tmp_path), pytest.raises(UsageError, match="another run"):
        lock(tmp_path)
    lock(tmp_path)


def test_the_key_of_patients_stays_for_the_rows_made_with_it_and_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    key = open_patient_key(tmp_path)
    assert len(bytes.fromhex(key.decode())) == 32
    assert (tmp_path / "patient.key").stat().st_mode & 0o777 == 0o600
    assert open_patient_key(tmp_path) == key
    (tmp_path / "patient.key").unlink()
    assert open_patient_key(tmp_path) != key
    ParquetSink(tmp_path, Provenance("hash", "model", 0.5)).finish()
    (tmp_path / "patient.key").unlink()
    with pytest.raises(UsageError, match="is missing"):
        open_patient_key(tmp_path)


def test_fresh_deletes_what_a_run_writes_and_nothing_else(tmp_path: Path) -> None:
    exam, others = (
        "0" * 32,
        ["notes.txt", "objects/notes.txt", "overlays/mine.png", "overlays/sheet.png", "scans/a.jpg"],
    )
    ours = [f"overlays/{exam}.png", f"overlays/{exam}.webp", "overlays/sheet-0001.png", f"scans/{exam}.jpg", "run.json"]
    ParquetSink(tmp_path, Provenance("hash", "model", 0.5)).finish()
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    clear_output(tmp_path)
    clear_output(tmp_path)

    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == sorted(others)


def test_contact_sheets_are_the_overlay_of_no_examination(tmp_path: Path) -> None:
    exam = "0" * 32
    (tmp_path / "overlays").mkdir()
    for name in (f"{exam}.png", "sheet-0001.png", "mine.png"):
        (tmp_path / "overlays" / name).touch()
    assert overlays_of(tmp_path) == {exam: tmp_path / f"overlays/{exam}.png"}


def test_results_of_another_archive_or_configuration_are_not_continued(tmp_path: Path) -> None:
    check_output(tmp_path, ["/archive"], "hash", str)
    ParquetSink(tmp_path, Provenance("hash", "model", 0.5)).finish()
    write_run_file(tmp_path, {"archive": "/archive"})
    assert read_run_file(tmp_path) == {"archive": "/archive"}
    check_output(tmp_path, ["/archive", "pseudonym"], "hash", str)
    for archives, config_hash, words in ((["/other"], "hash", "the archive /archive"), (["/archive"], "2", "--fresh")):
        with pytest.raises(ConfigMismatchError, match=words):
            check_output(tmp_path, archives, config_hash, str)
    write_run_file(tmp_path, {"archive": "pseudonym"})
    with pytest.raises(ConfigMismatchError, match="another archive"):
        check_output(tmp_path, ["/archive"], "hash", str)
    (tmp_path / "results/part-x.parquet").touch()
    with pytest.raises(UsageError, match="was not written by bsbatch"):
        check_output(tmp_path, ["pseudonym"], "hash", str)
