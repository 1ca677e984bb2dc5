"""A mirror holds all that a run could use, and the PACS is asked for nothing else; with a real Orthanc."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.end_to_end.tables import bsbatch, objects
from tests.pacs.conftest import CT_SLICES, encode_ct
from tests.pacs.orthanc import Orthanc

from bsbatch.dicom.headers.read import read_header
from bsbatch.dicom.selection import decline
from bsbatch.errors import ItemError
from bsbatch.pacs.ledger import LEDGER, OBJECTS, STUDIES
from bsbatch.pacs.mirror import sop_uid_of
from bsbatch.reasons import SKIPS
from bsbatch.records import Header
from bsbatch.store.parts import all_rows


def headers_in(folder: Path) -> Iterator[Header]:
    """Headers of all DICOM files below a folder."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with path.open("rb") as stream:
                yield read_header(stream, path.stat().st_size)
        except ItemError:
            continue


@pytest.fixture(scope="module")
def mirror(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror") / "folder"
    orthanc.forget()
    done = bsbatch("fetch", f"dicomweb:{orthanc.dicomweb}", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def asked(orthanc: Orthanc, mirror: Path, pacs_files: Path) -> Counter[str]:
    """Images that the server has read whole for the mirror; to answer searches, it reads documents whole."""
    documents = {header.sop_uid for header in headers_in(pacs_files) if not header.rows}
    return Counter({uid: count for uid, count in orthanc.read_whole().items() if uid not in documents})


def test_every_possible_scan_of_the_server_is_mirrored(mirror: Path, pacs_files: Path, asked: Counter[str]) -> None:
    verdicts = {header.sop_uid: decline(header) for header in headers_in(pacs_files)}
    possible = {uid for uid, verdict in verdicts.items() if verdict is None or verdict.reason not in SKIPS}
    stored = {row["sop_uid"] for row in all_rows(mirror / LEDGER / OBJECTS, ["sop_uid"])}

    mirrored = {header.sop_uid for header in headers_in(mirror)}

    assert len(mirrored) > 8
    assert possible & stored <= mirrored
    assert set(asked) == mirrored


def test_no_ct_is_asked_for_and_nothing_twice(mirror: Path, pacs_files: Path, asked: Counter[str]) -> None:
    slices = {header.sop_uid for header in headers_in(pacs_files) if header.modality == "CT"}
    slices |= {sop_uid_of(encode_ct(number)) for number in range(CT_SLICES)}

    assert len(slices) > CT_SLICES
    assert slices.isdisjoint(asked)
    assert {header.modality for header in headers_in(mirror)} == {"NM"}
    assert set(asked.values()) == {1}


def test_no_ct_series_is_looked_at(orthanc: Orthanc, mirror: Path) -> None:
    series = {row["series_uid"] for row in all_rows(mirror / LEDGER / OBJECTS, ["series_uid"])}
    requests = [request for request in orthanc.http_requests() if request.endswith("/instances")]

    assert len(requests) >= len(series) > 0
    assert all(any(uid in request for uid in series) for request in requests)


def test_the_ledger_accounts_for_every_object(mirror: Path) -> None:
    studies = list(
        all_rows(mirror / LEDGER / STUDIES, ["study_uid", "status", "fetched", "declined", "failed", "bytes"])
    )
    found = list(all_rows(mirror / LEDGER / OBJECTS, ["status", "file", "bytes", "reason"]))

    assert {row["status"] for row in studies} == {"fetched"}
    for status in ("fetched", "declined", "failed"):
        assert sum(row[status] for row in studies) == sum(row["status"] == status for row in found)
    files = {row["file"]: row["bytes"] for row in found if row["status"] == "fetched"}
    assert files == {str(path.relative_to(mirror)): path.stat().st_size for path in mirror.glob("objects/*/*")}
    assert all(row["reason"] for row in found if row["status"] == "declined")


def test_names_and_output_say_nothing_of_a_patient(orthanc: Orthanc, mirror: Path, tmp_path: Path) -> None:
    done = bsbatch("fetch", f"dicomweb:{orthanc.dicomweb}", tmp_path / "again")

    texts = [done.stdout, done.stderr, *(str(path.relative_to(mirror)) for path in mirror.rglob("*"))]
    assert "Phantom" not in "".join(texts)
    assert "PHANTOM" not in "".join(texts)
    for header in headers_in(mirror):
        assert not any(header.sop_uid in text for text in texts if header.sop_uid)


def test_the_same_command_again_asks_for_studies_only(orthanc: Orthanc, mirror: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in mirror.rglob("*.dcm")}
    orthanc.forget()

    assert bsbatch("fetch", f"dicomweb:{orthanc.dicomweb}", mirror).returncode == 0

    assert len(orthanc.http_requests()) == 1
    assert {path: path.stat().st_mtime_ns for path in mirror.rglob("*.dcm")} == before


def test_a_dry_run_counts_and_writes_nothing(orthanc: Orthanc, tmp_path: Path, asked: Counter[str]) -> None:
    orthanc.forget()

    done = bsbatch("fetch", f"dicomweb:{orthanc.dicomweb}", tmp_path / "none", "--dry-run")

    assert done.returncode == 0
    assert f"to be fetched {len(asked)}" in " ".join(done.stdout.split())
    assert orthanc.read_whole().keys().isdisjoint(asked)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("options", "studies"),
    [
        (["--since", "2020-01-01"], 1),
        (["--since", "2020-01-02", "--until", "2020-01-02"], 1),
        (["--since", "2020-01-03"], 0),
        (["--until", "1990-01-01"], 0),
        (["--accessions", "ACC-0\n\nACC-none\n"], 1),
        (["--patients", "nobody\n"], 0),
    ],
)
def test_studies_are_chosen_by_date_accession_and_patient(
    orthanc: Orthanc, tmp_path: Path, options: list[str], studies: int
) -> None:
    if options[0] in {"--accessions", "--patients"}:
        (tmp_path / "list.txt").write_text(options[1])
        options = [options[0], str(tmp_path / "list.txt")]

    done = bsbatch("fetch", f"dicomweb:{orthanc.dicomweb}", tmp_path / "m", "--dry-run", *options)

    assert f"studies asked for {studies} " in " ".join(done.stdout.split())


def test_a_run_over_the_mirror_is_that_over_its_objects(mirror: Path, tmp_path: Path) -> None:
    statuses = []
    for name, archive in (("mirror", mirror), ("objects", mirror / "objects")):
        done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / name, "--max-error-rate", "1")
        assert done.returncode == 0, done.stderr
        statuses.append({(row["sop_uid"], row["status"]) for row in objects(tmp_path / name) if row["sop_uid"]})
        others = [row["reason"] for row in objects(tmp_path / name) if not row["sop_uid"]]
        assert set(others) <= {"not_dicom"}  # the ledger: no scan, so skipped and never failed

    assert statuses[0] == statuses[1] != set()
