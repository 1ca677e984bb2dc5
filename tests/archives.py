"""Small archives for tests and benchmarks: NM objects that are quick to write, of every status."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

NM = "1.2.840.10008.5.1.4.1.1.20"
CT = "1.2.840.10008.5.1.4.1.1.2"
ROWS, COLUMNS = 512, 256
PATIENT_NAME = "Secret^Patience"

Pixels = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Scan:
    """One whole-body object of a study."""

    study: int
    views: str = "AP"
    """The view of each frame: A, P, or ? for none."""
    instance: int = 1
    series: int = 1
    time: str | None = "101500"
    rows: int = ROWS
    columns: int = COLUMNS


def uid(*parts: int | str) -> str:
    """A UID that depends only on its parts."""
    return generate_uid(prefix="2.25.", entropy_srcs=[str(part) for part in parts])


def pixels_of(scan: Scan) -> Pixels:
    """``(frames, rows, columns)`` counts in the shape of a body; they differ between scans."""
    random = np.random.default_rng([scan.study, scan.instance])
    frames = random.integers(0, 9, (len(scan.views), scan.rows, scan.columns), np.uint16)
    frames[:, scan.rows // 8 : -scan.rows // 8, scan.columns // 4 : -scan.columns // 4] += np.uint16(
        20 + scan.study % 50
    )
    return frames


def dataset_of(scan: Scan, pixels: Pixels | None = None) -> FileDataset:
    """One NM object; Start Angle names its views, PS3.3 C.8.4.11."""
    frames = pixels_of(scan) if pixels is None else pixels
    dataset = _new(NM, uid("sop", scan.study, scan.instance), scan.study)
    dataset.Modality = "NM"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    dataset.SeriesInstanceUID = uid("series", scan.study, scan.series)
    dataset.Manufacturer, dataset.ManufacturerModelName = "Nobody", "Test camera"
    if scan.time is not None:
        dataset.AcquisitionDate, dataset.AcquisitionTime = "20200102", scan.time
    dataset.CountsAccumulated = int(frames.sum())
    dataset.DetectorVector = list(range(1, len(scan.views) + 1))
    dataset.EnergyWindowVector = [1] * len(scan.views)
    dataset.DetectorInformationSequence = [_detector(view) for view in scan.views]
    return with_pixels(dataset, frames)


def with_pixels(dataset: FileDataset, frames: Pixels) -> FileDataset:
    """Add 16-bit unsigned frames to a dataset."""
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = frames.astype("<u2").tobytes()
    return dataset


def ct_slice(number: int) -> FileDataset:
    """An object that is not a bone scan."""
    dataset = _new(CT, uid("ct", number), 10**6 + number)
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    return with_pixels(dataset, np.zeros((1, 16, 16), np.uint16))


def write(dataset: FileDataset, path: Path) -> Path:
    """Write one object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_plain(archive: Path, studies: int) -> None:
    """Write studies of one two-frame object each."""
    for study in range(studies):
        write(dataset_of(Scan(study)), archive / f"{study // 100:03d}" / f"{study:06d}.dcm")


def write_mixed(archive: Path, studies: int) -> None:
    """Write studies of every status: the files of a pair in different folders, with clutter between them."""
    for study in range(studies):
        for folder, name, dataset in _mixed(study):
            write(dataset, archive / folder / f"{name}-{study:05d}")
        if study % 10 == 0:
            (archive / "b" / f"note-{study:05d}.txt").write_text("no DICOM", encoding="utf-8")
    _truncate(next(iter(sorted((archive / "b").glob("two-*")))))


def _mixed(study: int) -> Iterator[tuple[str, str, FileDataset]]:
    kind = study % 5
    if kind in {0, 1}:
        yield "b", "two", dataset_of(Scan(study))
    elif kind == 2:
        yield "a", "ant", dataset_of(Scan(study, "A", 1))
        yield "c", "post", dataset_of(Scan(study, "P", 2))
    elif kind == 3:
        yield "a", "ant", dataset_of(Scan(study, "A", 1, series=1))
        yield "b", "post", dataset_of(Scan(study, "P", 2, series=2))
        yield "c", "copy", dataset_of(Scan(study, "A", 1, series=1))
    else:
        yield "b", "two", dataset_of(Scan(study, "AP" if study % 2 else "PA"))
        yield "c", "ct", ct_slice(study)
    if study % 25 == 2:
        yield "b", "lone", dataset_of(Scan(study, "A", 9, series=9, time="200000"))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _new(sop_class: str, sop_uid: str, study: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(sop_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, sop_uid
    dataset.StudyInstanceUID = uid("study", study)
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT_NAME, "SECRET-ID-4711", "19440229"
    return dataset


def _detector(view: str) -> Dataset:
    item = Dataset()
    if view != "?":
        item.StartAngle = 180 if view == "A" else 0
    return item
