"""The column ``patient_key``: equal for one patient, no Patient ID, and a key that stays in the output folder."""

from pathlib import Path

import pytest
from tests.archives import Scan, dataset_of, write
from tests.end_to_end.tables import bsbatch, objects, patient_keys, results

IDS = {"0": "4711", "1": "0815", "2": "4711", "3": None}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for study, (name, patient) in enumerate(IDS.items()):
        dataset = dataset_of(Scan(study, rows=64, columns=32))
        del dataset.PatientID
        if patient is not None:
            dataset.PatientID = patient
        write(dataset, tmp_path / "archive" / name)
    return tmp_path / "archive"


def run(archive: Path, out: Path, *options: str | Path) -> None:
    done = bsbatch("run", archive, "--backend", "fake", "--out", out, "--quiet", *options)
    assert done.returncode == 0, done.stderr


def test_objects_of_one_patient_have_one_key_which_is_not_the_id(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")

    keys = patient_keys(tmp_path / "out")
    assert keys["0"] == keys["2"] != keys["1"]
    assert keys["3"] is None
    assert all(len(keys[name] or "") == 32 for name in "012")
    assert not any(b"4711" in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_a_resumed_run_makes_the_same_keys_and_another_folder_others(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out", "--limit", "1")
    run(archive, tmp_path / "out")
    run(archive, tmp_path / "other")

    keys = patient_keys(tmp_path / "out")
    assert keys["0"] == keys["2"]
    assert keys["0"] != patient_keys(tmp_path / "other")["0"]


def test_the_same_key_file_gives_the_same_keys_in_every_folder(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef" * 4)
    for out in ("out", "other"):
        run(archive, tmp_path / out, "--pseudonymise", tmp_path / "secret")

    one, other = patient_keys(tmp_path / "out"), patient_keys(tmp_path / "other")
    assert one == other
    assert len(set(one.values())) == 3
    assert not (tmp_path / "out" / "patient.key").exists()


def test_only_the_owner_can_read_the_key(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")

    assert (tmp_path / "out" / "patient.key").stat().st_mode & 0o777 == 0o600


def test_a_folder_whose_key_was_lost_is_refused_and_keeps_its_rows(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")
    before = objects(tmp_path / "out"), results(tmp_path / "out")
    (tmp_path / "out" / "patient.key").unlink()

    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out")

    assert done.returncode == 2
    assert "put it back" in " ".join(done.stderr.split())
    assert (objects(tmp_path / "out"), results(tmp_path / "out")) == before
