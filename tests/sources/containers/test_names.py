import struct
import zlib
from array import array

import pytest

from bsbatch.sources.containers.names import Namer, row_name, zip_name

JAPANESE = "検査/IM1"


def unicode_path(raw: bytes, name: str, crc: int | None = None) -> bytes:
    data = b"\x01" + struct.pack("<I", zlib.crc32(raw) if crc is None else crc) + name.encode()
    return struct.pack("<HH", 0x5455, 1) + b"x" + struct.pack("<HH", 0x7075, len(data)) + data


def test_a_name_is_utf_8_if_its_flag_says_so_else_code_page_437() -> None:
    assert zip_name(JAPANESE.encode(), 1 << 11, b"") == JAPANESE
    assert zip_name("Knochen_Männer".encode("cp437"), 0, b"") == "Knochen_Männer"


def test_the_unicode_path_counts_only_if_it_belongs_to_the_name() -> None:
    raw = JAPANESE.encode("shift_jis")

    assert zip_name(raw, 0, unicode_path(raw, JAPANESE)) == JAPANESE
    assert zip_name(raw, 0, unicode_path(raw, JAPANESE, crc=1)) == raw.decode("cp437")


@pytest.mark.parametrize("name", ["IM1", "./IM1", "././IM1"])
def test_a_leading_dot_is_left_out(name: str) -> None:
    assert Namer().name(name, 0) == "IM1"


@pytest.mark.parametrize("is_known", [False, True])
def test_equal_names_stay_distinct_whatever_others_are_called(is_known: bool) -> None:
    names = ["IM1", "IM1", "IM1#1", "IM1", "./IM1", "a\0", "a\u2400", "\udcff", "\uf7ff", "IM2"]
    known = array("q", sorted(hash(row_name(name)) for name in names))
    namer = Namer(known) if is_known else Namer()

    found = [namer.name(name, number) for number, name in enumerate(names)]

    assert found[0] == "IM1"
    assert found[-1] == "IM2"
    assert found[2] == "IM1#1" if is_known else found[1] == "IM1#1"
    assert len(set(found)) == len(names)
    assert "".join(found).encode()


def test_a_name_that_was_given_out_is_found_again() -> None:
    namer = Namer()
    namer.name("a/IM1", 0)

    assert "./a/IM1" in namer
    assert "a/IM2" not in namer
