"""Lesions in DICOM Segmentations that are written here attribute by attribute, after PS3.3 C.8.20."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless
from tests.archives import ct_slice, write

from bsbatch.errors import UsageError
from bsbatch.evaluation.masks import read_lesions
from bsbatch.evaluation.segmentation import ViewFrame, read_segmentations
from bsbatch.host import limits

ROWS, COLUMNS = 64, 16
SEG, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
TWO_OBJECTS = ViewFrame("1.1", 1), ViewFrame("1.2", 1)
ONE_OBJECT = ViewFrame("1.1", 1), ViewFrame("1.1", 2)

Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a segmentation and its reference to a view."""

    pixels: Mask
    segment: int = 1
    sop_uid: str | None = None
    frame: int | None = None
    is_preserved: str = "YES"


def patch(row: int, column: int, value: int = 1) -> Mask:
    pixels = np.zeros((ROWS, COLUMNS), np.uint8)
    pixels[row : row + 4, column : column + 3] = value
    return pixels


def items(*fields: dict[str, Any]) -> Items:
    sequence = []
    for one in fields:
        item = Dataset()
        for name, value in one.items():
            setattr(item, name, value)
        sequence.append(item)
    return Items(sequence)


def groups_of(frame: Frame) -> dict[str, Any]:
    groups: dict[str, Any] = {"SegmentIdentificationSequence": items({"ReferencedSegmentNumber": frame.segment})}
    if frame.sop_uid is not None:
        source: dict[str, Any] = {
            "ReferencedSOPInstanceUID": frame.sop_uid,
            "SpatialLocationsPreserved": frame.is_preserved,
        }
        if frame.frame is not None:
            source["ReferencedFrameNumber"] = frame.frame
        groups["DerivationImageSequence"] = items({"SourceImageSequence": items(source)})
    return groups


def save(path: Path, frames: Sequence[Frame], kind: str = "BINARY", objects: Sequence[str] = (), **more: Any) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(LABEL_MAP if kind == "LABELMAP" else SEG)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID("9.9")
    dataset.Modality, dataset.SegmentationType = "SEG", kind
    (dataset.Rows, dataset.Columns), dataset.NumberOfFrames = frames[0].pixels.shape, len(frames)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    stack = np.stack([frame.pixels for frame in frames])
    dataset.PixelData = pack_bits(stack) if bits == 1 else stack.tobytes()
    dataset.PerFrameFunctionalGroupsSequence = items(*map(groups_of, frames))
    if objects:
        referenced = items(*({"ReferencedSOPInstanceUID": uid} for uid in objects))
        dataset.ReferencedSeriesSequence = items({"ReferencedInstanceSequence": referenced})
    for name, value in more.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_frames_lie_on_the_view_that_they_refer_to_by_object(tmp_path: Path) -> None:
    frames = [Frame(patch(40, 2), 2, "1.2"), Frame(patch(10, 5), 1, "1.1"), Frame(patch(20, 5), 2, "1.1")]

    found = read_segmentations([save(tmp_path / "a.dcm", frames)], TWO_OBJECTS)

    assert found is not None
    np.testing.assert_array_equal(found[0], patch(10, 5) + patch(20, 5, 2))
    np.testing.assert_array_equal(found[1], patch(40, 2, 2))


def test_frames_lie_on_the_view_that_they_refer_to_by_frame_number(tmp_path: Path) -> None:
    frames = [Frame(patch(40, 2), 1, "1.1", 2), Frame(patch(10, 5), 1, "1.1", 1)]

    found = read_segmentations([save(tmp_path / "a.dcm", frames)], ONE_OBJECT)

    assert found is not None
    np.testing.assert_array_equal(found[0], patch(10, 5))
    np.testing.assert_array_equal(found[1], patch(40, 2))


def test_one_segmentation_for_each_view_may_name_its_object_alone(tmp_path: Path) -> None:
    paths = [
        save(tmp_path / "a.dcm", [Frame(patch(10, 5))], objects=["1.1"]),
        save(tmp_path / "p.dcm", [Frame(patch(40, 2), 3)], objects=["1.2"]),
    ]

    found = read_segmentations(paths, TWO_OBJECTS)

    assert found is not None
    np.testing.assert_array_equal(found[0], patch(10, 5))
    np.testing.assert_array_equal(found[1], patch(40, 2, 3))


@pytest.mark.parametrize(("value", "belongs"), [(127, False), (128, True), (255, True)])
def test_a_fractional_segment_begins_at_half_of_its_maximum(value: int, tmp_path: Path, *, belongs: bool) -> None:
    frames = [Frame(patch(10, 5, value), 4, "1.1")]
    path = save(tmp_path / "a.dcm", frames, "FRACTIONAL", MaximumFractionalValue=255)

    found = read_segmentations([path], TWO_OBJECTS)

    assert found is not None
    np.testing.assert_array_equal(found[0], patch(10, 5, 4 * belongs))


def test_a_label_map_names_its_segments_by_value(tmp_path: Path) -> None:
    both = patch(10, 5, 7) + patch(30, 5, 2)

    found = read_segmentations([save(tmp_path / "a.dcm", [Frame(both, 1, "1.1")], "LABELMAP")], TWO_OBJECTS)

    assert found is not None
    np.testing.assert_array_equal(found[0], both)


def test_a_segmentation_of_other_images_is_no_mask(tmp_path: Path) -> None:
    assert read_segmentations([save(tmp_path / "a.dcm", [Frame(patch(1, 1), 1, "7.7")])], TWO_OBJECTS) is None
    assert read_segmentations([], TWO_OBJECTS) is None


def test_a_study_is_read_from_the_files_that_bear_its_uid(tmp_path: Path) -> None:
    save(tmp_path / "1.5.dcm", [Frame(patch(10, 5), 1, "1.1")])
    save(tmp_path / "1.5_more.dcm", [Frame(patch(40, 2), 2, "1.2")])
    save(tmp_path / "1.55.dcm", [Frame(patch(50, 2), 3, "1.2")])

    lesions = read_lesions(tmp_path, "1.5", TWO_OBJECTS)

    assert lesions is not None
    assert lesions.count == 2
    expected = np.zeros((512, 512), bool)
    expected[80:112, 80:128], expected[320:352, 256 + 32 : 256 + 80] = True, True
    np.testing.assert_array_equal(lesions.inside, expected)
    assert read_lesions(tmp_path, "1.5") is None


@pytest.mark.parametrize(
    ("views", "frame", "objects", "message"),
    [
        (ONE_OBJECT, Frame(patch(1, 1), 1, "1.1"), (), r"\(0008,1160\) Referenced Frame Number"),
        (TWO_OBJECTS, Frame(patch(1, 1)), ("1.1", "1.2"), "refers to 2 objects"),
        (TWO_OBJECTS, Frame(patch(1, 1)), (), "refers to 0 objects"),
        (TWO_OBJECTS, Frame(patch(1, 1), 1, "1.1", None, "NO"), (), "resample it"),
    ],
)
def test_a_frame_without_a_clear_view_is_refused(
    views: tuple[ViewFrame, ViewFrame], frame: Frame, objects: Sequence[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        read_segmentations([save(tmp_path / "a.dcm", [frame], objects=objects)], views)


def test_fractions_of_an_unknown_maximum_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", [Frame(patch(1, 1), 1, "1.1")], "FRACTIONAL")

    with pytest.raises(UsageError, match="the meaning of its values"):
        read_segmentations([path], TWO_OBJECTS)


def test_a_file_that_is_no_segmentation_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no DICOM")

    with pytest.raises(UsageError, match=r"text\.dcm cannot be read as DICOM"):
        read_segmentations([tmp_path / "text.dcm"], TWO_OBJECTS)
    image = write(ct_slice(1), tmp_path / "image.dcm")
    with pytest.raises(UsageError, match=r"image\.dcm is no DICOM Segmentation"):
        read_segmentations([image], TWO_OBJECTS)


def test_pixels_that_are_cut_off_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.dcm", [Frame(patch(1, 1), 1, "1.1")])
    path.write_bytes(path.read_bytes()[:-900])

    with pytest.raises(UsageError, match=r"a\.dcm cannot be read as DICOM"):
        read_segmentations([path], TWO_OBJECTS)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, RLELossless])
def test_compressed_segmentations_are_read(syntax: UID, tmp_path: Path) -> None:
    frames = [Frame(patch(2, 1), sop_uid="1.1"), Frame(patch(5, 3), sop_uid="1.2")]
    plain = read_segmentations([save(tmp_path / "a.dcm", frames, "LABELMAP")], TWO_OBJECTS)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "b.dcm")

    packed = read_segmentations([tmp_path / "b.dcm"], TWO_OBJECTS)

    assert plain is not None
    assert packed is not None
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(plain, packed, strict=True))


@pytest.mark.parametrize("frames", [100_000, 1])
def test_a_segmentation_of_more_pixels_than_fit_is_refused_before_they_are_made(frames: int, tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.dcm", [Frame(patch(2, 1), sop_uid="1.1")], Rows=65535, Columns=65535, NumberOfFrames=frames
    )

    with pytest.raises(UsageError, match="more than"):
        read_segmentations([path], TWO_OBJECTS)


def test_a_deflated_segmentation_is_inflated_no_further_than_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MASK_BYTES", 1 << 20)
    path = save(tmp_path / "a.dcm", [Frame(patch(2, 1), sop_uid="1.1")])
    dataset = pydicom.dcmread(path)
    dataset.PixelData, dataset.file_meta.TransferSyntaxUID = bytes(limits.MASK_BYTES), DeflatedExplicitVRLittleEndian
    dataset.save_as(path)

    with pytest.raises(UsageError, match="larger than"):
        read_segmentations([path], TWO_OBJECTS)
