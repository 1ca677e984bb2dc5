"""One Orthanc for all tests that only read: phantoms of every dialect with their clutter, and a SPECT/CT."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from tests.archives import Scan, ct_slice, dataset_of, uid
from tests.pacs.orthanc import Orthanc, start_orthanc

from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan

CT_SLICES = 40
STUDY_DATE = "20200102"
"""Of the SPECT/CT; the phantoms are older."""


@pytest.fixture(scope="session")
def pacs_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms of the server, as files."""
    folder = tmp_path_factory.mktemp("pacs") / "set"
    write_set(folder, SetPlan(studies=8, seed=11))
    return folder / "archive"


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory, pacs_files: Path) -> Iterator[Orthanc]:
    """A server that is filled; tests neither change nor stop it."""
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        server.load(path.read_bytes() for path in sorted(pacs_files.rglob("*")) if path.is_file())
        server.load([encode_scan(Scan(0))])
        server.load(encode_ct(number) for number in range(CT_SLICES))
        server.forget()
        yield server


def encode_ct(number: int) -> bytes:
    """One CT slice of a SPECT/CT examination, in the study of `encode_scan` of study 0, as a file."""
    dataset = ct_slice(number)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study", 0), uid("series of ct")
    dataset.StudyDate, dataset.InstanceNumber = STUDY_DATE, number
    return _encode(dataset)


def encode_scan(scan: Scan) -> bytes:
    """One bone scan as a file."""
    dataset = dataset_of(scan)
    dataset.StudyDate, dataset.AccessionNumber = STUDY_DATE, f"ACC-{scan.study}"
    return _encode(dataset)


def _encode(dataset: FileDataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
