import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.uid import (
    HEVCMP51,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tests.dicom.objects import dataset, encode, header, read, without_preamble

from bsbatch.dicom import pixels as pixels_module
from bsbatch.dicom.pixels import Encoded, decode_confined, read_encoded, read_frames
from bsbatch.errors import ItemError
from bsbatch.host.workers import Isolation
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.records import Header
from bsbatch.view_pixels import ViewPixels

ROWS, COLUMNS = 64, 32  # large enough for the wavelets of JPEG 2000
JPEG_LL = Path(str(get_testdata_file("JPEG-LL.dcm", download=False)))
NM1_COUNTS, NM1_MAXIMUM = 3_596_452, 278
LOSSLESS = [RLELossless, JPEG2000Lossless, JPEGLSLossless]
NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def counts(frames: int = 2, kind: str = "<u2") -> NDArray[Any]:
    """``(frames, 64, 32)`` values below 128, different in every frame."""
    return (np.arange(frames * ROWS * COLUMNS) * 7 % 128).reshape(frames, ROWS, COLUMNS).astype(kind) ^ frames


def frame_of(data: bytes, frame: int = 1, known: Header | None = None) -> ViewPixels:
    return read_frames(BytesIO(data), known or read(data), (frame,))[0]


def refusal(data: bytes, known: Header | None = None) -> ItemError:
    found = known or read(data)
    with pytest.raises(ItemError) as caught:
        read_frames(BytesIO(data), found, (1,))
    return caught.value


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS], ids=lambda syntax: UID(syntax).name)
@pytest.mark.parametrize("kind", ["<u2", "<i2", "u1", "i1"])
def test_every_encoding_gives_the_stored_values(syntax: UID, kind: str) -> None:
    stored = counts(kind=kind)

    found = frame_of(encode(dataset(stored), syntax), 2)

    np.testing.assert_array_equal(found.stored, stored[1])
    np.testing.assert_array_equal(found.counts, stored[1].astype(np.float32))
    assert found.counts.dtype == np.float32


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, *LOSSLESS])
def test_negative_counts_stay_negative(syntax: UID) -> None:
    stored = counts(kind="<i2") - 50

    np.testing.assert_array_equal(frame_of(encode(dataset(stored), syntax)).counts, stored[0])


@pytest.mark.parametrize("frame", [1, 2, 3])
def test_the_requested_frame_is_read(frame: int) -> None:
    stored = counts(3)

    np.testing.assert_array_equal(frame_of(encode(dataset(stored)), frame).stored, stored[frame - 1])


def test_an_object_of_one_frame_is_read() -> None:
    np.testing.assert_array_equal(frame_of(encode(dataset(counts(1)))).stored, counts(1)[0])


@pytest.mark.parametrize("is_implicit", [True, False])
def test_an_object_without_preamble_is_read(is_implicit: bool) -> None:
    data = without_preamble(dataset(counts()), is_implicit=is_implicit)

    np.testing.assert_array_equal(frame_of(data, 2).stored, counts()[1])


def test_real_jpeg_lossless_counts_have_the_known_sum_and_maximum() -> None:
    found = frame_of(JPEG_LL.read_bytes())

    assert found.counts.shape == (1024, 256)
    assert (found.counts.sum(dtype=np.float64), found.counts.max()) == (NM1_COUNTS, NM1_MAXIMUM)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "JPEG2000_UNC.dcm"])
def test_negative_counts_of_real_lossy_objects_are_kept(name: str) -> None:
    data = Path(str(get_testdata_file(name, download=False))).read_bytes()

    assert frame_of(data).counts.min() == -30


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(1, 0, lambda x: x), (2, 0, lambda x: 2 * x), (1, -10, lambda x: x - 10), (0.5, 3, lambda x: 0.5 * x + 3)],
)
def test_rescale_slope_and_intercept_are_applied_to_the_counts_alone(
    slope: float, intercept: float, expected: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    found = frame_of(encode(dataset(counts(), RescaleSlope=slope, RescaleIntercept=intercept)))

    np.testing.assert_array_equal(found.stored, counts()[0])
    np.testing.assert_array_equal(found.counts, expected(counts()[0].astype(np.float32)))


def test_a_deflated_object_that_is_cut_off_is_truncated() -> None:
    assert (
        refusal(encode(dataset(counts()), DeflatedExplicitVRLittleEndian)[:-30]).reason == Reason.TRUNCATED_PIXEL_DATA
    )


@pytest.mark.parametrize("missing", [2, 300])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_native_pixel_data_that_end_too_early_are_truncated(syntax: UID, missing: int) -> None:
    whole = encode(dataset(counts(1)), syntax)
    error = refusal(whole[:-missing], read(whole))

    assert error.reason == Reason.TRUNCATED_PIXEL_DATA
    assert error.message == EXPLANATIONS[Reason.TRUNCATED_PIXEL_DATA]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_compressed_pixel_data_that_end_too_early_fail(syntax: UID) -> None:
    whole = encode(dataset(counts(1)), syntax)

    error = refusal(whole[:-60], read(whole))

    assert error.reason in {Reason.TRUNCATED_PIXEL_DATA, Reason.DECODE_FAILED}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_damaged_compressed_pixel_data_fail(syntax: UID) -> None:
    whole = encode(dataset(counts(1)), syntax)
    pixels = read(whole).pixel_data
    assert pixels is not None
    start = pixels.offset + 24
    damaged = whole[:start] + bytes(40) + whole[start + 40 :]

    error = refusal(damaged, read(whole))

    assert error.reason in {Reason.TRUNCATED_PIXEL_DATA, Reason.DECODE_FAILED}
    assert "\n" not in error.message


def test_an_object_whose_shape_differs_from_its_header_fails() -> None:
    data = encode(dataset(counts()), JPEG2000Lossless)
    known = read(data)._replace(rows=COLUMNS, columns=ROWS)

    assert refusal(data, known).reason == Reason.DECODE_FAILED


def test_a_colour_image_is_not_read_as_counts() -> None:
    colours = np.zeros((1, ROWS, COLUMNS * 3), np.uint8)
    rgb = {"Columns": COLUMNS, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    data = encode(dataset(colours, **rgb), RLELossless)

    assert refusal(data).reason == Reason.DECODE_FAILED


@pytest.mark.parametrize("syntax", [MPEG2MPML, HEVCMP51])
def test_a_video_codec_is_an_unsupported_transfer_syntax(syntax: UID) -> None:
    film, buffer = dataset(counts()), BytesIO()
    film.compress(RLELossless, generate_instance_uid=False)
    film.file_meta.TransferSyntaxUID = syntax
    film.save_as(buffer, enforce_file_format=True)

    assert refusal(buffer.getvalue()).reason == Reason.UNSUPPORTED_TRANSFER_SYNTAX


DECODE = """
import sys
from bsbatch.dicom.headers.read import read_header
from bsbatch.dicom.pixels import decode_confined, needs_codec, read_encoded
from bsbatch.errors import ItemError, WorkerLostError
from bsbatch.host.workers import Isolation
with open(sys.argv[1], "rb") as stream, Isolation() as isolation:
    header = read_header(stream, 10**9)
    assert needs_codec(header)
    try:
        isolation.call(decode_confined, read_encoded(stream, header), header, (1,))
    except WorkerLostError:
        print("decode_failed")
    except ItemError as error:
        print(error.reason)
"""


@pytest.mark.parametrize(
    ("syntax", "start", "position", "value"),
    [
        (JPEGLSLossless, b"\xff\xd8", 6, 127),
        (JPEGLSLossless, b"\xff\xd8", 10, 0),
        (JPEG2000Lossless, b"\xff\x4f", 42, 127),
        (JPEGLosslessSV1, b"\xff\xd8", 6, 17),
        (JPEGLosslessSV1, b"\xff\xd8", 15, 0),
    ],
    ids=[
        "JPEG-LS precision",
        "JPEG-LS width",
        "JPEG 2000 precision",
        "JPEG Lossless precision",
        "JPEG Lossless marker",
    ],
)
def test_one_damaged_byte_of_a_code_stream_does_not_crash_the_process(
    syntax: UID, start: bytes, position: int, value: int, tmp_path: Path
) -> None:
    whole = JPEG_LL.read_bytes() if syntax == JPEGLosslessSV1 else encode(dataset(counts(1, "u1")), syntax)
    pixels = read(whole).pixel_data
    assert pixels is not None
    damaged = bytearray(whole)
    damaged[whole.index(start, pixels.offset) + position] = value
    (tmp_path / "a.dcm").write_bytes(damaged)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DECODE, tmp_path / "a.dcm"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, f"ended by signal {-done.returncode}"
    assert done.stdout.strip() == Reason.DECODE_FAILED


WITHOUT_CODECS = """
import sys
for name in ("gdcm", "openjpeg", "jpeg_ls", "PIL", "pylibjpeg"):
    sys.modules[name] = None
from bsbatch.dicom.headers.read import read_header
from bsbatch.dicom import pixels as pixels_module
from bsbatch.dicom.pixels import read_frames
from bsbatch.errors import ItemError
with open(sys.argv[1], "rb") as stream:
    header = read_header(stream, 10**9)
    stream.seek(0)
    try:
        read_frames(stream, header, (1,))
    except ItemError as error:
        print(error.reason, error.message)
"""


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_missing_decoder_names_the_extra_to_install(syntax: UID, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(dataset(counts()), syntax))

    done = subprocess.run([sys.executable, "-c", WITHOUT_CODECS, path], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("unsupported_transfer_syntax ")
    assert 'pip install "bsbatch[codecs]"' in done.stdout


def test_a_failing_disk_is_not_reported_as_a_damaged_object() -> None:
    class Broken(BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        read_frames(Broken(encode(dataset(counts()))), header(), (1,))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Unable to decompress: no plugin"), Reason.UNSUPPORTED_TRANSFER_SYNTAX),
        (RuntimeError("bad marker"), Reason.DECODE_FAILED),
        (ValueError("unable to decompress"), Reason.DECODE_FAILED),
        (NotImplementedError(), Reason.UNSUPPORTED_TRANSFER_SYNTAX),
        (ValueError("the data has less than expected"), Reason.TRUNCATED_PIXEL_DATA),
        (AttributeError("Truncated"), Reason.TRUNCATED_PIXEL_DATA),
        (OSError("incomplete stream"), Reason.TRUNCATED_PIXEL_DATA),
        (ItemError(Reason.TOO_LARGE, "as it is"), Reason.TOO_LARGE),
    ],
)
def test_an_error_of_a_decoder_is_a_reason_of_its_own(error: Exception, reason: Reason) -> None:
    with pytest.raises(ItemError) as caught, pixels_module._errors_of_decoders():
        raise error

    assert caught.value.reason is reason


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error")])
def test_an_error_of_the_machine_is_no_reason(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, pixels_module._errors_of_decoders():
        raise error

    assert caught.value is error


def decode_without_memory(encoded: Encoded, known: Header) -> object:
    """Decode in a worker that has no memory left."""

    def fail(*_arguments: object) -> None:
        raise MemoryError

    pixels_module.decode = fail  # type: ignore[assignment]
    return decode_confined(encoded, known, (1,))


def test_a_decoder_without_memory_refuses_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with Isolation() as isolation, pytest.raises(ItemError, match="more memory") as caught:
        isolation.call(decode_without_memory, Encoded(b"", "OB", None), header())
    assert caught.value.reason == Reason.DECODE_FAILED


class Counted(BytesIO):
    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize(
    ("frames", "read_frames_of"), [((1,), 1), ((3,), 1), ((2, 3), 2), ((3, 2), 2), ((1, 3), 2), ((1, 2, 3), 3)]
)
def test_no_more_than_the_requested_frames_are_read(frames: tuple[int, ...], read_frames_of: int) -> None:
    stored = counts(3)
    data = encode(dataset(stored))
    stream = Counted(data)
    views = read_frames(stream, read(data), frames)
    assert [view.stored.tolist() for view in views] == [stored[frame - 1].tolist() for frame in frames]
    assert stream.taken == read_frames_of * ROWS * COLUMNS * 2


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_native_pixels_for_a_decoder_have_the_length_of_the_image(syntax: UID) -> None:
    data = encode(dataset(counts()), syntax)
    known = read(data)
    found = read_encoded(BytesIO(data), known)
    assert (len(found.value), found.vr, found.table) == (2 * ROWS * COLUMNS * 2, "OW", None)
    one = known._replace(rows=ROWS // 2)
    assert read_encoded(BytesIO(data), one).value == found.value[: len(found.value) // 2]


def test_an_object_without_pixels_has_none_to_decode() -> None:
    with pytest.raises(ItemError) as caught:
        read_encoded(BytesIO(), header(pixel_data=None))
    assert caught.value.reason == Reason.NO_PIXEL_DATA


@pytest.mark.parametrize(
    ("changes", "words"), [({"rows": 63}, "64 x 32"), ({"columns": 31}, "64 x 32"), ({"rows": 128}, "64 x 32")]
)
def test_a_code_stream_of_another_size_than_the_header_is_refused(changes: dict[str, Any], words: str) -> None:
    data = encode(dataset(counts()), JPEG2000Lossless)
    error = refusal(data, read(data)._replace(**changes))
    assert (error.reason, words in error.message) == (Reason.DECODE_FAILED, True)
