"""The DICOM files of the PyPI packages pydicom and pydicom-data (MIT): real, many damaged on purpose."""

from pathlib import Path

import data_store
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless
from tests.archives import Scan, dataset_of, write
from tests.end_to_end.tables import Row, bsbatch, by_source, objects, results

NM1 = ("JPEG2000.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm", "JPEG2000_UNC.dcm", "JPEG-LL.dcm")
"""NEMA WG-04 NM1, one anterior whole-body view in several encodings."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "archive"
    folder.mkdir()
    (folder / "pydicom").symlink_to(Path(pydicom.__file__).parent / "data")
    (folder / "pydicom-data").symlink_to(Path(data_store.__file__).parent / "data")
    return folder


@pytest.fixture(scope="module")
def out(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    done = bsbatch("run", archive, "--backend", "fake", "--out", folder, "--max-error-rate", "1")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(out: Path) -> dict[str, Row]:
    return {Path(source).name: row for source, row in by_source(out).items()}


def test_every_file_has_a_row(archive: Path, out: Path) -> None:
    files = [path for folder in archive.iterdir() for path in folder.rglob("*") if path.is_file()]
    assert len(by_source(out)) == len(files) > 200


@pytest.mark.parametrize("name", NM1)
def test_nm1_is_a_single_view(rows: dict[str, Row], name: str) -> None:
    assert (rows[name]["status"], rows[name]["reason"]) in {
        ("failed", "single_view_only"),
        ("skipped", "duplicate_view"),  # the same SOP instance in another encoding
        ("failed", "decode_failed"),  # the same, in one that no decoder reads, so that it may be a copy or not
    }


def test_nm1_fails_as_an_examination(out: Path) -> None:
    assert {row["reason"] for row in results(out)} == {"single_view_only"}
    assert {row["model_name"] for row in results(out)} == {"MILLENNIUM MG"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CT_small.dcm", "modality_not_nm"),
        ("MR_small.dcm", "modality_not_nm"),
        ("MR_truncated.dcm", "modality_not_nm"),
        ("rtplan_truncated.dcm", "modality_not_nm"),
        ("rtstruct.dcm", "modality_not_nm"),
        ("DICOMDIR", "dicomdir"),
        ("README.txt", "not_dicom"),
        ("reportsi.dcm", "structured_report_or_pdf"),
    ],
)
def test_other_objects_are_skipped_with_their_reason(rows: dict[str, Row], name: str, reason: str) -> None:
    assert (rows[name]["status"], rows[name]["reason"]) == ("skipped", reason)


def test_compressed_archives_are_read_and_a_decoder_that_crashes_costs_one_row(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    for study, syntax in enumerate([JPEG2000Lossless, JPEGLSLossless, RLELossless, JPEGLSLossless]):
        dataset = dataset_of(Scan(study))
        dataset.compress(syntax)
        write(dataset, archive / str(study))
    write(dataset_of(Scan(9)), archive / "9")
    damaged = bytearray((archive / "3").read_bytes())
    start = damaged.index(b"\xff\xd8", damaged.index(b"\xe0\x7f\x10\x00"))
    damaged[start + 6] = 127  # the sample precision: GDCM, tried last, ends its process on this
    (archive / "3").write_bytes(damaged)

    done = bsbatch("run", archive, "--backend", "fake", "--out", tmp_path / "out", "--max-error-rate", "1")

    assert done.returncode == 0, done.stderr
    reasons = {row["source"]: row["reason"] for row in objects(tmp_path / "out")}
    assert reasons == {"0": None, "1": None, "2": None, "3": "decode_failed", "9": None}
    assert not [row for row in results(tmp_path / "out") if "counts_mismatch" in (row["qc_flags"] or [])]
