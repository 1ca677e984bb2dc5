import io
import random
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.containers.made import zipped

from bsbatch.errors import ItemError
from bsbatch.sources.containers.names import Namer
from bsbatch.sources.containers.reading import SharedFile
from bsbatch.sources.containers.zip_index import ZipMember, find_directory, zip_members

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=8)
EOCD = b"PK\x05\x06"


def listed(data: bytes, folder: Path) -> list[ZipMember] | None:
    path = folder / "x.zip"
    path.write_bytes(data)
    file = SharedFile(io.FileIO(path))
    directory = find_directory(file)
    return None if directory is None else list(zip_members(file, directory))


def judged(data: bytes) -> list[tuple[str, int, int, int, int]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = Namer()
        return [
            (names.name(info.orig_filename, number), info.header_offset, info.compress_size, info.file_size, info.CRC)
            for number, info in enumerate(archive.infolist())
            if not (info.orig_filename.endswith("/") and not info.file_size)
        ]


def facts(members: list[ZipMember] | None) -> list[tuple[str, int, int, int, int]]:
    assert members is not None
    return [(one.name, one.offset, one.stored, one.size, one.crc) for one in members]


def fails(data: bytes, folder: Path) -> str:
    with pytest.raises(ItemError) as error:
        listed(data, folder)
    assert error.value.reason == "container_not_opened"
    return error.value.message


@settings(max_examples=150, deadline=None)
@given(MEMBERS, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), st.binary(max_size=50), st.booleans())
def test_members_are_those_that_zipfile_lists(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[tuple[str, bytes]],
    method: int,
    lead: bytes,
    commented: bool,
) -> None:
    stream = io.BytesIO()
    stream.write(lead)
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "a", method) as archive:
        warnings.simplefilter("ignore")  # equal names
        archive.comment = b"a comment" if commented else b""
        for name, data in members:
            archive.writestr(name, data)

    assert facts(listed(stream.getvalue(), tmp_path_factory.mktemp("zip"))) == judged(stream.getvalue())


@settings(max_examples=100, deadline=None)
@given(MEMBERS, st.binary(max_size=40))
def test_data_before_the_archive_move_all_offsets_as_in_zipfile(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]], lead: bytes
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = lead + zipped(members)

    assert facts(listed(data, tmp_path_factory.mktemp("zip"))) == judged(data)


@pytest.mark.parametrize("comment", [b"PK\x05\x06", b"by PK\x05\x06" + bytes(30), b"PK\x05\x06" * 9])
def test_a_comment_may_hold_the_magic_of_the_end_record(comment: bytes, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("IM1", b"data")
        archive.comment = comment

    found = listed(stream.getvalue(), tmp_path)

    assert found is not None
    assert [one.name for one in found] == ["IM1"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=8), st.integers(0, 10**6), st.integers(0, 2))
def test_a_damaged_archive_ends_as_an_error_or_a_list_and_never_otherwise(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, seed: int, how: int
) -> None:
    data = bytearray(zipped([(f"IM{number}", bytes([number]) * 99) for number in range(5)]))
    at = random.Random(seed).randrange(len(data))
    data = data[:at] if how == 0 else data[:at] + noise + data[at + (how == 1) * len(noise) :]
    try:
        members = listed(bytes(data), tmp_path_factory.mktemp("zip")) or []
    except ItemError:
        return
    assert all(one.problem or one.offset + 30 + one.stored <= one.end <= len(data) for one in members)


def test_zip64_sizes_and_end_are_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("large", "w", force_zip64=True) as member:
        member.write(b"abc" * 100)
    data = bytearray(stream.getvalue())
    end = data.index(EOCD)
    size, start = struct.unpack_from("<II", data, end + 12)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    whole = (
        bytes(data[:end]) + end64 + locator + EOCD + struct.pack("<4HIIH", 0, 0, 0xFFFF, 0xFFFF, *[0xFFFFFFFF] * 2, 0)
    )

    assert facts(listed(whole, tmp_path)) == judged(whole) == [("large", 0, 300, 300, judged(whole)[0][4])]


def test_a_zip64_field_without_its_values_is_damage(tmp_path: Path) -> None:
    data = bytearray(zipped([("IM1", b"x")]))
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = b"\xff" * 4

    assert "damaged" in fails(bytes(data), tmp_path)


def test_more_members_than_16_bits_count_are_read(tmp_path: Path) -> None:
    data = zipped([(f"{number}", b"") for number in range(66_000)], zipfile.ZIP_STORED)

    members = listed(data, tmp_path)

    assert members is not None
    assert [one.name for one in members] == [str(number) for number in range(66_000)]


def test_a_file_without_an_end_record_has_no_directory(tmp_path: Path) -> None:
    data = zipped([("IM1", b"x" * 100)])

    assert listed(data[:-30], tmp_path) is None
    assert listed(b"", tmp_path) is None


def test_members_before_damage_are_listed(tmp_path: Path) -> None:
    data = bytearray(zipped([("IM1", b"1"), ("IM2", b"2")]))
    second = data.rindex(b"PK\x01\x02")
    data[second : second + 2] = b"??"
    path = tmp_path / "x.zip"
    path.write_bytes(data)
    file, seen = SharedFile(io.FileIO(path)), list[str]()
    directory = find_directory(file)
    assert directory is not None

    with pytest.raises(ItemError, match="directory of the zip is damaged"):
        seen.extend(member.name for member in zip_members(file, directory))

    assert seen == ["IM1"]


def test_a_zip_of_several_parts_is_refused_with_the_command_that_joins_them(tmp_path: Path) -> None:
    data = bytearray(zipped([("IM1", b"x")]))
    end = data.index(EOCD)
    data[end + 4 : end + 6] = b"\x01\x00"

    assert "zip -s 0" in fails(bytes(data), tmp_path)


def patched(offset: int, value: bytes, data: bytes = b"") -> bytes:
    """Change bytes of the first entry of the central directory."""
    changed = bytearray(data or zipped([("IM1", b"x" * 100), ("IM2", b"y" * 100)]))
    at = changed.index(b"PK\x01\x02") + offset
    changed[at : at + len(value)] = value
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (patched(8, b"\x01\x00"), "encrypted"),
        (patched(8, b"\x00\x20"), "encrypted"),
        (patched(10, b"\x09\x00"), "method 9"),
        (patched(10, b"\x0e\x00"), "method 14"),
        (patched(10, b"\x00\x00"), "contradict"),
        (patched(24, b"\xff\xff\xff\x00"), "contradict"),
        (patched(34, b"\x02\x00"), "several parts"),
        (patched(38, struct.pack("<I", 0o120777 << 16)), "link"),
        (patched(20, struct.pack("<I", 200)), "shares bytes"),
        (patched(42, struct.pack("<I", 1)), "shares bytes"),
        (patched(42, struct.pack("<I", 0xFFFFFFF0)), "shares bytes"),
    ],
    ids=range(11),
)
def test_a_member_that_is_not_read_has_its_advice_and_costs_no_other(data: bytes, words: str, tmp_path: Path) -> None:
    members = listed(data, tmp_path)

    assert members is not None
    assert words in str(members[0].problem)
    assert members[1].problem is None


def test_members_that_share_their_data_are_refused(tmp_path: Path) -> None:
    data = zipped([("IM1", b"x" * 100)])
    at, end = data.index(b"PK\x01\x02"), data.index(EOCD)
    twice = data[:end] + data[at:end]
    record = EOCD + struct.pack("<4HIIH", 0, 0, 2, 2, 2 * (end - at), at, 0)

    members = listed(twice + record, tmp_path)

    assert members is not None
    assert ["shares bytes" in str(one.problem) for one in members] == [True, True]


@pytest.mark.parametrize(
    "name", ["../IM1", "a/../../IM1", "/etc/IM1", "C:/IM1", "c:IM1", "..\\IM1", "\\\\host\\IM1", "a/..", "IM1\0.exe"]
)
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    padded = name.encode()
    data = zipped([("x" * len(padded), b"data")]).replace(b"x" * len(padded), padded)

    members = listed(data, tmp_path)

    assert members is not None
    assert "leads out" in str(members[0].problem)


@pytest.mark.parametrize("name", ["a..b/IM1", "...", "a\\IM1", "a/.hidden", "folder:1/IM1", "ä/IM1"])
def test_odd_names_that_stay_inside_are_read(name: str, tmp_path: Path) -> None:
    members = listed(zipped([(name, b"data")]), tmp_path)

    assert members is not None
    assert (members[0].name, members[0].problem) == (name, None)
