import struct

import pytest

from bsbatch.dicom.codestream import Form, form_of

SOF = struct.pack(">HBHHB", 11, 12, 1024, 256, 1)
SIZ = struct.pack(">HH8IHB", 41, 0, 256 + 4, 1024 + 8, 4, 8, 256, 1024, 0, 0, 1, 11)
J2K = b"\xff\x4f\xff\x51" + SIZ
SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"


@pytest.mark.parametrize(
    ("codestream", "form"),
    [
        (b"\xff\xd8\xff\xf7" + SOF, Form(1024, 256, 1, 12)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3" + SOF, Form(1024, 256, 1, 12)),
        (b"\xff\xd8\xff\xff\xff\xd8\xff\xc0" + SOF, Form(1024, 256, 1, 12)),
        (b"\xff\xd8\xff\xc4\x00\x04ab\xff\xda\x00\x0b\x10", None),
        (J2K, Form(1024, 256, 1, 12)),
        (J2K[:-1] + b"\x8b", Form(1024, 256, 1, 12)),
        (SIGNATURE + b"\0\0\0\x0cjp2h\0\0\0\0" + b"\0\0\0\0jp2c" + J2K, Form(1024, 256, 1, 12)),
        (SIGNATURE + b"\0\0\0\0jp2h" + J2K, None),
        (b"\xff\xd8\xff\xf7" + SOF[:-1], None),
        (J2K[:-1], None),
        (b"\xff\xd8\xff", None),
        (b"", None),
        (b"no code stream", None),
    ],
    ids=[
        "JPEG-LS",
        "behind a segment",
        "fill bytes and a marker without a segment",
        "a scan without a frame header",
        "JPEG 2000",
        "signed",
        "JP2",
        "a box without an end",
        "JPEG that is cut",
        "JPEG 2000 that is cut",
        "a marker that is cut",
        "empty",
        "text",
    ],
)
def test_the_announced_form_of_a_code_stream_is_read_and_nothing_else(codestream: bytes, form: Form | None) -> None:
    assert form_of(codestream) == form
