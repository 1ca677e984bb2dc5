"""``bsbatch run --identify``: what is written with it, and what is not without."""

from pathlib import Path

import pytest
from tests.archives import Scan, dataset_of, write
from tests.end_to_end.tables import bsbatch, results

SECRETS = {"PatientID": "ID-4711", "AccessionNumber": "ACC-0815", "StudyDescription": "Knochenszintigraphie"}
SECRETS |= {"InstitutionName": "Klinik am Berg", "RequestingService": "Urologie"}
NEVER = {"PatientName": "Secret^Patience", "PatientBirthDate": "19480305"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    dataset = dataset_of(Scan(0, rows=64, columns=32))
    for keyword, value in (SECRETS | NEVER | {"StudyDate": "20200304", "PatientSex": "M"}).items():
        setattr(dataset, keyword, value)
    write(dataset, tmp_path / "archive" / "a.dcm")
    return tmp_path / "archive"


def run(archive: Path, out: Path, *options: str | Path) -> tuple[int, str]:
    done = bsbatch("run", archive, "--backend", "fake", "--out", out, *options)
    assert not any(value in done.stdout + done.stderr for value in (SECRETS | NEVER).values())
    return done.returncode, done.stderr


def written(out: Path) -> str:
    tables = [str(row) for row in results(out)]
    return "".join(tables + [path.read_bytes().decode("latin-1") for path in out.rglob("*") if path.is_file()])


def test_identity_is_written_on_wish_without_name_and_birth_date(archive: Path, tmp_path: Path) -> None:
    assert run(archive, tmp_path / "out", "--identify")[0] == 0

    (row,) = results(tmp_path / "out")
    found = [row[name] for name in ("patient_id", "accession_number", "study_description", "institution")]
    assert [*found, row["requesting_service"]] == list(SECRETS.values())
    assert (row["study_date"], row["patient_age"], row["age_band"]) == ("20200304", 71, "65 to 74")
    assert not any(value in written(tmp_path / "out") for value in NEVER.values())


def test_without_the_wish_only_hash_year_sex_and_band_are_written(archive: Path, tmp_path: Path) -> None:
    assert run(archive, tmp_path / "out")[0] == 0

    (row,) = results(tmp_path / "out")
    assert (row["study_year"], row["patient_sex"], row["age_band"]) == (2020, "M", "65 to 74")
    assert len(row["accession_key"]) == 32
    assert not any(value in written(tmp_path / "out") for value in (SECRETS | NEVER | {"day": "20200304"}).values())


def test_runs_with_and_without_identity_do_not_mix(archive: Path, tmp_path: Path) -> None:
    run(archive, tmp_path / "out")

    code, message = run(archive, tmp_path / "out", "--identify")

    assert code == 2
    assert "--identify was off and is on" in message
    assert run(archive, tmp_path / "out", "--identify", "--fresh")[0] == 0


def test_identity_and_pseudonyms_exclude_each_other(archive: Path, tmp_path: Path) -> None:
    code, message = run(archive, tmp_path / "out", "--identify", "--pseudonymise", tmp_path / "key")

    assert code == 2
    assert "--identify writes what --pseudonymise hides" in message
