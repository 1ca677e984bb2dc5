"""One image and one pixel hash of the same samples, whatever their containers, encoding and way in."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless
from tests.archives import Scan, dataset_of, pixels_of
from tests.dicom.containers import Layout, encode_containers, pack

from bsbatch.config import Selection
from bsbatch.dicom.pixels import read_frames
from bsbatch.host.threads import FreeList
from bsbatch.host.workers import Isolation
from bsbatch.imaging import preprocess, quality
from bsbatch.native.view_pairs import PairFunctions, pair_functions
from bsbatch.pipeline import preparation, reading
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.protocols import ImagePool
from bsbatch.records import Examination, Header, PinnedImage, PreparedExam
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry
from bsbatch.view_pixels import ViewPixels

SCAN = Scan(1, rows=1024)
SAMPLES = pixels_of(SCAN)
RUBBISH = np.random.default_rng(2).integers(0, 1 << 16, SAMPLES.shape)
OVERLAY: NDArray[np.int64] = np.zeros(SAMPLES.shape, np.int64)
OVERLAY[:, 20:60, 20:200] = 1 << 12
PLAIN = Layout(16, 16, 15)
LOW, LEFT, SIGNED = Layout(16, 12, 11), Layout(16, 10, 15), Layout(16, 12, 11, is_signed=True)


@pytest.fixture(params=["compiled", "numpy"])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PairFunctions | None:
    """Compiled code or none, for every stage."""
    found = pair_functions() if request.param == "compiled" else None
    if found is None and request.param == "compiled":
        pytest.skip("bsbatch was installed without a C compiler")
    for module in (preparation, preprocess, quality):
        monkeypatch.setattr(module, "pair_functions", lambda: found)
    return found


def prepare(folder: Path, data: bytes, pool: ImagePool | None = None) -> PreparedExam:
    folder.mkdir(exist_ok=True)
    (folder / "a.dcm").write_bytes(data)
    source = DirectorySource(folder)
    with Isolation() as isolation:
        (unit,) = Intake(source, Selection(), Catalog(), Telemetry(), isolation, threads=1).units(8, None)
        exam: Examination = unit.exams[0]
        (prepared,) = Preparation(source, Telemetry(), isolation, image_pool=pool).prepare([exam])
    assert isinstance(prepared, PreparedExam)
    return prepared


def encoded(layout: Layout, rubbish: NDArray[np.int64] | int, syntax: UID, **attributes: object) -> bytes:
    made: FileDataset = dataset_of(SCAN, pack(SAMPLES, layout, rubbish))
    made.BitsStored, made.HighBit, made.PixelRepresentation = layout.stored, layout.high_bit, int(layout.is_signed)
    made.CountsAccumulated = int(SAMPLES.sum())
    for name, value in attributes.items():
        setattr(made, name, value)
    return encode_containers(made, syntax)


def outcome(prepared: PreparedExam) -> tuple[bytes, str, tuple[str, ...]]:
    assert isinstance(prepared.image, np.ndarray)
    return prepared.image.tobytes(), prepared.quality.pixel_xxh3, prepared.quality.flags


@pytest.mark.parametrize(
    ("layout", "rubbish", "syntax"),
    [
        (LOW, 0, ExplicitVRLittleEndian),
        (LOW, OVERLAY, ExplicitVRLittleEndian),
        (LOW, OVERLAY, ExplicitVRBigEndian),
        (LOW, RUBBISH, RLELossless),
        (LEFT, RUBBISH, ExplicitVRLittleEndian),
        (LEFT, RUBBISH, RLELossless),
        (SIGNED, RUBBISH, ExplicitVRLittleEndian),
        (SIGNED, RUBBISH, JPEGLSLossless),
    ],
)
@pytest.mark.usefixtures("native")
def test_the_same_samples_give_the_same_image(
    layout: Layout, rubbish: NDArray[np.int64] | int, syntax: UID, tmp_path: Path
) -> None:
    plain = prepare(tmp_path / "plain", encoded(PLAIN, 0, ExplicitVRLittleEndian))

    assert outcome(prepare(tmp_path / "other", encoded(layout, rubbish, syntax))) == outcome(plain)


@pytest.mark.parametrize(
    ("make", "is_compiled"),
    [
        (lambda: encoded(PLAIN, 0, ExplicitVRLittleEndian), True),
        (lambda: encoded(LOW, 0, ExplicitVRLittleEndian), True),
        (lambda: encoded(PLAIN, 0, ExplicitVRLittleEndian, PixelPaddingValue=0), True),
        (lambda: encoded(PLAIN, 0, ExplicitVRLittleEndian, PhotometricInterpretation="MONOCHROME1"), True),
        (lambda: encoded(PLAIN, 0, ExplicitVRLittleEndian, PixelPaddingValue=65535), True),
        (lambda: encoded(PLAIN, 0, ExplicitVRLittleEndian, PixelPaddingValue=int(SAMPLES.max())), False),
        (lambda: encoded(PLAIN, 0, ExplicitVRLittleEndian, PixelPaddingValue=0, PixelPaddingRangeLimit=3), False),
        (lambda: encoded(LOW, OVERLAY, ExplicitVRLittleEndian), False),
        (lambda: encoded(LEFT, 0, ExplicitVRLittleEndian), False),
    ],
)
def test_compiled_code_keeps_the_objects_without_padding_and_set_unused_bits(
    make: Callable[[], bytes], is_compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pair_functions() is None:
        pytest.skip("bsbatch was installed without a C compiler")
    calls: list[Header] = []

    def count(stream: BinaryIO, header: Header, frames: Sequence[int]) -> tuple[ViewPixels, ...]:
        calls.append(header)
        return read_frames(stream, header, frames)

    monkeypatch.setattr(reading, "read_frames", count)

    prepare(tmp_path / "a", make())

    assert len(calls) == (0 if is_compiled else 1)


def test_memory_that_compiled_code_had_filled_with_unused_bits_is_given_back(tmp_path: Path) -> None:
    pool: FreeList[PinnedImage] = FreeList()
    pool.give_back(PinnedImage(np.zeros((512, 512), np.uint16), np.zeros((2, 2), np.float32)))

    found = prepare(tmp_path / "a", encoded(LOW, OVERLAY, ExplicitVRLittleEndian), pool)

    assert isinstance(found.image, PinnedImage)
    assert found.image.counts.max() <= 2 * SAMPLES.max()


@pytest.mark.usefixtures("native")
def test_padding_is_left_out_of_the_image_and_flagged(tmp_path: Path) -> None:
    framed = SAMPLES.copy()
    framed[:, :, :10] = 0
    plain = prepare(tmp_path / "plain", encode_containers(dataset_of(SCAN, framed), ExplicitVRLittleEndian))
    framed[:, :, :10] = 65535
    padded = dataset_of(SCAN, framed)
    padded.PixelPaddingValue, padded.CountsAccumulated = 65535, int(SAMPLES[:, :, 10:].sum())

    image, digest, flags = outcome(prepare(tmp_path / "padded", encode_containers(padded, ExplicitVRLittleEndian)))

    assert (image, digest) == outcome(plain)[:2]
    assert set(flags) - set(plain.quality.flags) == {quality.Flag.PADDING_REMOVED}
