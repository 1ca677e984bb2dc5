"""Mutated DICOM files: each is drawn from a seed, with the structure of its elements in view."""

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.dicom.headers.test_fast import full
from tests.dicom.objects import CT, SECONDARY_CAPTURE, encode, without_preamble

PLAIN = ExplicitVRLittleEndian, ImplicitVRLittleEndian
SYNTAXES = [str(syntax) for syntax in (*PLAIN, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless)]
SYNTAXES += ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50", "1.2.840.113619.5.2", "1.2.3", ""]
VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
WRONG_VRS = [b"??", b"  ", b"\0\0", b"ZZ", b"us", b"\xff\xff", b"A\0", b"OX", b"-1"]
LENGTHS = [
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    12,
    64,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFE,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0xFFFFFFFE,
    0xFFFFFFFF,
]
TAGS = [0, 0x00020010, 0x00080005, 0x00080016, 0x00080060, 0x00110010, 0x00280010, 0x00540022, 0x7FE00008, 0x7FE00010]
TAGS += [0x00041220, 0x00091001, 0x0008103E, 0x00082112, 0xFFFCFFFC, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFFFFFF]
VALUES = [
    b"",
    b" ",
    b"\0",
    b"\\",
    b"\\\\",
    b"\0\0\0\0",
    b"NM",
    b"nm",
    b"N",
    b"CT",
    b" NM ",
    b"NM\\CT",
    b"NM\0",
    b"OT",
    b"PT",
]
VALUES += [b"1", b"-1", b"+7", b"1e3", b"1E400", b"nan", b"inf", b"1_0", b"0x1", b"1.5", b" 2 ", b"2\\", b"\\2", b"1,5"]
VALUES += [
    b"99999999999999999999",
    b"--1",
    b"1 2",
    b"12345678901234567",
    b"\xb2",
    b"1\0",
    b"1.",
    b".",
    b"e",
    b"\n1",
    b"1\t",
]
VALUES += [b"ISO_IR 100", b"ISO_IR 192", b"ISO_IR 13", b"\\ISO 2022 IR 87", b"GB18030", b"iso_ir 100", b"ISO 2022 IR 6"]
VALUES += [b"Ganzk\xf6rper", b"Ganzk\xc3\xb6rper", b"\x1b$B4X\x1b(B", b"\xff\xfe", b"A=B", b"A^B", b"\r\n", b"x" * 70]
VALUES += [
    b"1.2.840.10008.5.1.4.1.1.2",
    b"1.2.840.10008.5.1.4.1.1.20",
    b"1.02.3",
    b"1.2.a",
    b"01",
    b"00",
    b"GEMS_GENIE_1",
]
VALUES += [b"ORIGINAL\\PRIMARY\\STATIC", b"original\\primary\\whole body", b"20200304", b"2020.03.04", b"101500+0100"]
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"


class Element(NamedTuple):
    """Offsets of an element of little-endian bytes, at any depth."""

    start: int
    value: int
    end: int


def originals() -> list[bytes]:
    """Sound files of all encodings, and of objects that are read in outline."""
    names = None, "ISO_IR 100", "\\ISO 2022 IR 87"
    files = [
        encode(full(undefined=undefined, SpecificCharacterSet=name), syntax)
        for undefined in (False, True)
        for name in names
        for syntax in PLAIN
    ]
    files += [encode(full(), UID(syntax)) for syntax in SYNTAXES[2:5]]
    files += [encode(full(Modality="CT", SOPClassUID=CT), syntax) for syntax in PLAIN]
    files += [encode(full(SOPClassUID=SECONDARY_CAPTURE)), encode(full(Modality="OT", SOPClassUID=SECONDARY_CAPTURE))]
    files += [encode(full(PixelData=None)), encode(full(ImageComments="x" * 9000))]
    bare = [without_preamble(full(), is_implicit=is_implicit) for is_implicit in (True, False)]
    return [*files, *bare, files[0][128:], files[0][132:]]


def mutate(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """Change a file in one to three ways; return it with the names of the changes."""
    names = []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        change = draw.choice(CHANGES)
        data = change(data, draw)
        names.append(change.__name__.strip("_"))
    return data, " ".join(names)


def _elements(data: bytes) -> list[Element]:
    """Find what looks like an element, in files that are damaged already, too."""
    start = next((at + 4 for at in (0, 128) if data[at : at + 4] == b"DICM"), 0)
    found: list[Element] = []
    while start <= len(data) - 8 and len(found) < 400:
        element = _element(data, start)
        found.append(element)
        is_nested = data[start + 4 : start + 6] == b"SQ" or data[element.value : element.value + 4] == ITEM
        is_item = data[start : start + 2] == ITEM[:2]
        start = element.value if is_nested or is_item or element.end > len(data) else element.end
    return found


def _element(data: bytes, start: int) -> Element:
    vr, value = data[start + 4 : start + 6], start + 8
    if vr in VRS and data[start : start + 2] != ITEM[:2]:
        is_long = vr[:1] == b"O" or vr in {b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
        if not is_long:
            return Element(start, value, value + struct.unpack_from("<H", data, start + 6)[0])
        value += 4
    if value > len(data):
        return Element(start, value, value)
    return Element(start, value, value + struct.unpack_from("<I", data, value - 4)[0])


def _pick(data: bytes, draw: random.Random) -> Element:
    return draw.choice(_elements(data) or [Element(0, min(8, len(data)), len(data))])


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _change_length(data: bytes, draw: random.Random) -> bytes:
    element = _pick(data, draw)
    length = draw.choice([*LENGTHS, max(0, element.end - element.value) + draw.choice([-2, -1, 1, 2, 8])])
    if element.value - element.start == 8 and data[element.start + 4 : element.start + 6] in VRS:
        return _put(data, element.value - 2, struct.pack("<H", length & 0xFFFF))
    return _put(data, element.value - 4, struct.pack("<I", length & 0xFFFFFFFF))


def _change_vr(data: bytes, draw: random.Random) -> bytes:
    return _put(data, _pick(data, draw).start + 4, draw.choice(VRS + WRONG_VRS))


def _change_tag(data: bytes, draw: random.Random) -> bytes:
    tag = draw.choice([*TAGS, draw.randrange(1 << 32)])
    return _put(data, _pick(data, draw).start, struct.pack("<HH", tag >> 16, tag & 0xFFFF))


def _change_value(data: bytes, draw: random.Random) -> bytes:
    """Another value, with its length or, one time in two, in the old length."""
    element, value = _pick(data, draw), draw.choice(VALUES)
    end = min(element.end, len(data))
    if draw.random() < 0.5:
        return data[: element.value] + value[: end - element.value].ljust(max(0, end - element.value)) + data[end:]
    value += draw.choice([b"", b" ", b"\0"])[: len(value) % 2]
    is_short = element.value - element.start == 8 and data[element.start + 4 : element.start + 6] in VRS
    length = struct.pack("<H" if is_short else "<I", len(value))
    return data[: element.value - len(length)] + length + value + data[end:]


def _repeat_element(data: bytes, draw: random.Random) -> bytes:
    element = _pick(data, draw)
    at = _pick(data, draw).start if draw.random() < 0.5 else element.end
    return data[:at] + data[element.start : element.end][:2000] + data[at:]


def _remove_element(data: bytes, draw: random.Random) -> bytes:
    element = _pick(data, draw)
    return data[: element.start] + data[element.end :]


def _insert_sequence(data: bytes, draw: random.Random) -> bytes:
    """Insert a sequence with items, of defined or undefined length, some of them ended in a wrong way."""
    at = _pick(data, draw).start
    inside = draw.choice([b"", data[at : _element(data, at).end][:200] if at <= len(data) - 8 else b"", b"\0" * 8])
    inside = inside + draw.choice([b"", b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 144"])
    is_open = draw.random() < 0.5
    length = 0xFFFFFFFF if is_open else len(inside) + draw.choice([0, 0, 0, 1, -1, 8])
    item = ITEM + struct.pack("<I", length & 0xFFFFFFFF) + inside
    item += (ITEM_END + struct.pack("<I", draw.choice([0, 0, 0, 4]))) if is_open and draw.random() < 0.8 else b""
    items = item * draw.choice([1, 1, 2, 3])
    is_open = draw.random() < 0.5
    items += (SEQUENCE_END + struct.pack("<I", draw.choice([0, 0, 0, 4]))) if is_open and draw.random() < 0.8 else b""
    tag = draw.choice([data[at : at + 4], b"\x54\x00\x22\x00", b"\x08\x00\x10\x11", b"\x09\x00\x01\x10"])
    head = draw.choice([b"SQ\0\0", b"UN\0\0", b""])
    return data[:at] + tag + head + struct.pack("<I", 0xFFFFFFFF if is_open else len(items)) + items + data[at:]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: _offset(data, draw)]


def _fill_rest(data: bytes, draw: random.Random) -> bytes:
    at = _offset(data, draw)
    return data[:at] + draw.choice([b"\0", b"\0", b"\xff", b" "]) * (len(data) - at)


def _fill_range(data: bytes, draw: random.Random) -> bytes:
    at, count = _offset(data, draw), draw.choice([1, 2, 4, 8, 64, 512])
    return data[:at] + draw.choice([b"\0", b"\xff", b" ", b"A"]) * min(count, len(data) - at) + data[at + count :]


def _swap_bytes(data: bytes, draw: random.Random) -> bytes:
    at, count = _offset(data, draw), 2 * draw.choice([1, 2, 4, 16, 400])
    part = bytearray(data[at : at + count])
    part = part[: len(part) // 2 * 2]
    part[0::2], part[1::2] = part[1::2], part[0::2]
    return _put(data, at, bytes(part))


def _flip_bits(data: bytes, draw: random.Random) -> bytes:
    at = _offset(data, draw)
    return _put(data, at, bytes([data[at] ^ 1 << draw.randrange(8)])) if at < len(data) else data


def _insert_or_remove_bytes(data: bytes, draw: random.Random) -> bytes:
    at = _offset(data, draw)
    if draw.random() < 0.5:
        return data[:at] + draw.randbytes(draw.randint(1, 9)) + data[at:]
    return data[:at] + data[at + draw.randint(1, 9) :]


def _change_syntax(data: bytes, draw: random.Random) -> bytes:
    at = data.find(b"\x02\x00\x10\x00UI")
    if at < 0 or at + 8 > len(data):
        return data
    value = draw.choice(SYNTAXES).encode()
    value += draw.choice([b"\0", b" ", b""])[: len(value) % 2]
    return data[: at + 6] + struct.pack("<H", len(value)) + value + data[_element(data, at).end :]


def _offset(data: bytes, draw: random.Random) -> int:
    """An offset in the header: one of an element, one near it, or any."""
    near = _pick(data, draw).start + draw.choice([0, 0, 1, 2, 4, 6, 7, 8, 9, 12, -1])
    return min(max(0, draw.choice([near, draw.randint(0, min(len(data), 4000))])), len(data))


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _change_length,
    _change_vr,
    _change_tag,
    *(_change_value,) * 8,
    _repeat_element,
    _remove_element,
    _insert_sequence,
    _cut,
    _fill_rest,
    _fill_range,
    _swap_bytes,
    _flip_bits,
    _insert_or_remove_bytes,
    _change_syntax,
)
