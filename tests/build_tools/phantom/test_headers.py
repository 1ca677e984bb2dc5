import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from tests.build_tools.phantom.conftest import WrittenSet

from bsbatch_build.phantom.centres import Dialect
from bsbatch_build.phantom.dialects import PhantomScan, build_datasets
from bsbatch_build.phantom.encoding import Encoding, encode
from bsbatch_build.phantom.headers import NOTE, Origin
from bsbatch_build.phantom.identity import draw_identity, random_stream
from bsbatch_build.phantom.plan import SetPlan, assign
from bsbatch_build.phantom.reading import read_views
from bsbatch_build.phantom.study import make_study

NM = "1.2.840.10008.5.1.4.1.1.20"
UNREADABLE = {
    "garbage",
    "text",
    "png",
    "empty",
    "dicomdir",
    "truncated_ct",
    "truncated_whole_body",
    "zeros_behind_meta",
}
UNUSUAL_BITS = {"left_justified", "overlay_bits"}


def _nuclear(written: WrittenSet, *without: str) -> list[tuple[Path, Dataset]]:
    left_out = UNREADABLE.union(without)
    files = [path for path, row in written.files("used", "skipped", "failed") if row["kind"] not in left_out]
    read = [(path, pydicom.dcmread(path)) for path in files]
    return [(path, dataset) for path, dataset in read if dataset.Modality == "NM" and "CountsAccumulated" in dataset]


@pytest.fixture(scope="module")
def scan() -> PhantomScan:
    study = make_study(assign(SetPlan(studies=1, seed=2), 0), np.random.SeedSequence([2, 1, 0]))
    identity = draw_identity(random_stream(2, 9), 2, "A00000")
    origin = Origin(identity, study.case.patient, study.case.acquisition.camera, 2.4)
    return PhantomScan(origin, study.views, (0, 1), 0)


def test_counts_accumulated_is_the_sum_of_the_pixels(written: WrittenSet) -> None:
    nuclear = _nuclear(written, *UNUSUAL_BITS)
    assert len(nuclear) > 60
    for path, dataset in nuclear:
        assert int(dataset.CountsAccumulated) == int(dataset.pixel_array.sum(dtype=np.int64)), path


def test_copies_of_unusual_bits_hold_the_counts_of_their_originals(written: WrittenSet) -> None:
    copies = [path for path, row in written.files("skipped") if row["kind"] in UNUSUAL_BITS]
    assert len(copies) == 2 * len(UNUSUAL_BITS)
    for path in copies:
        dataset = pydicom.dcmread(path)
        samples = np.frombuffer(dataset.PixelData, np.uint16) >> (dataset.HighBit + 1 - dataset.BitsStored)
        counts = samples & (1 << dataset.BitsStored) - 1
        assert int(dataset.CountsAccumulated) == int(counts.sum(dtype=np.int64)), path
        assert dataset.BitsStored < dataset.BitsAllocated


def test_nothing_in_a_header_looks_like_a_person(written: WrittenSet) -> None:
    for _, dataset in _nuclear(written):
        assert str(dataset.PatientName).startswith("Phantom^")
        assert str(dataset.PatientID).startswith("PHANTOM-")
        assert dataset.ImageComments == NOTE
        assert dataset.PatientBirthDate == ""
        assert dataset.StudyInstanceUID.startswith("2.25.")


def test_frame_order_is_not_always_anterior_first(written: WrittenSet) -> None:
    orders: Counter[str] = Counter()
    for path, _ in written.files("used"):
        views = list(read_views(path))
        orders["".join(views)] += len(views) > 1
    assert orders["AP"] > orders["PA"] > 0


def test_several_transfer_syntaxes_occur(written: WrittenSet) -> None:
    syntaxes = {
        pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID for path, _ in written.files("used")
    }
    assert len(syntaxes) >= 3


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("encoding", list(Encoding))
def test_every_encoding_holds_the_same_counts(
    tmp_path: Path, scan: PhantomScan, dialect: Dialect, encoding: Encoding
) -> None:
    views: dict[str, np.ndarray] = {}
    for number, dataset in enumerate(build_datasets(dialect, scan)):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(encode(dataset, encoding, dataset.get("SOPClassUID", NM)))
        views |= read_views(path)
    limit = 255 if dialect is Dialect.EMPTIED or encoding is Encoding.EIGHT_BIT else 65535
    for side, counts in zip("AP", scan.views, strict=True):
        assert np.array_equal(views[side], np.minimum(counts, limit))


def test_view_labels_are_in_the_attributes_of_each_vendor(scan: PhantomScan) -> None:
    (ge,) = build_datasets(Dialect.GE_TWO_FRAME, scan)
    assert list(ge[0x0011, 0x1012].value) == list(ge[0x0011, 0x1030].value) == ["ANT", "POST"]
    assert [float(head.StartAngle) for head in ge.DetectorInformationSequence] == [180, 0]
    assert ge.InstanceNumber is None or ge.InstanceNumber == ""
    (siemens,) = build_datasets(Dialect.SIEMENS_TWO_FRAME, scan)
    assert [float(head.StartAngle) for head in siemens.DetectorInformationSequence] == [180, 360]
    old = build_datasets(Dialect.GE_OLD_SINGLE, scan)
    assert [dataset.ImageID for dataset in old] == ["WHOLE BODY_E", "WHOLE BODY_F"]
    assert {dataset.PixelRepresentation for dataset in old} == {1}
    assert len({dataset.SeriesInstanceUID for dataset in old}) == 1
    series = build_datasets(Dialect.SEPARATE_SERIES, scan)
    assert [dataset.SeriesDescription for dataset in series] == ["ANT", "POST"]
    assert len({dataset.SeriesInstanceUID for dataset in series}) == 2
    (bare,) = build_datasets(Dialect.EMPTIED, scan)
    assert not {"SOPClassUID", "ImageType", "DetectorVector", "FrameIncrementPointer"} & set(bare.dir())


def _inflate(path: Path, dataset: Dataset, folder: Path) -> Path:
    """Rewrite a deflated object uncompressed: Debian's dciodvfy cannot read deflated ones."""
    if dataset.file_meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return path
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain = folder / "plain.dcm"
    dataset.save_as(plain, enforce_file_format=True)
    return plain


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_every_nm_object_is_valid(written: WrittenSet, tmp_path: Path) -> None:
    """Except ge_old_single (another SOP class), emptied (no SOP class) and unusual bits: they imitate defects."""
    checked = 0
    for path, dataset in _nuclear(written, *UNUSUAL_BITS):
        if dataset.get("SOPClassUID") != NM:
            continue
        report = subprocess.run(
            ["dciodvfy", str(_inflate(path, dataset, tmp_path))], capture_output=True, text=True, check=False
        )
        assert [line for line in report.stderr.splitlines() if line.startswith("Error")] == [], path
        checked += 1
    assert checked > 40
