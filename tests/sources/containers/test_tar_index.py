import io
import random
import tarfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.containers.made import tarred

from bsbatch.errors import ItemError
from bsbatch.sources.containers.reading import Cursor, SharedFile
from bsbatch.sources.containers.tar_index import TarMember, is_header, tar_members

PARTS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=90)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=1200)), max_size=6)
FORMATS = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]


def listed(data: bytes, folder: Path) -> list[TarMember]:
    path = folder / "x.tar"
    path.write_bytes(data)
    return list(tar_members(Cursor(SharedFile(io.FileIO(path)))))


def with_info(info: tarfile.TarInfo, data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        if info.isreg():
            info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@settings(max_examples=200, deadline=None)
@given(MEMBERS, st.sampled_from(FORMATS))
def test_members_are_those_that_tarfile_lists(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes]], form: int
) -> None:
    data = tarred(members, form)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = [(info.name, info.offset_data, info.size) for info in archive]

    found = listed(data, tmp_path_factory.mktemp("tar"))

    assert [(one.name, one.offset, one.size) for one in found] == expected
    assert [data[one.offset : one.offset + one.size] for one in found] == [content for _, content in members]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=4), st.sampled_from(FORMATS))
def test_a_damaged_tar_ends_as_an_error_or_a_list_and_never_otherwise(
    tmp_path_factory: pytest.TempPathFactory, seed: int, noise: bytes, form: int
) -> None:
    data = bytearray(tarred([("a" * 120, b"1"), ("IM2", b"2" * 700)], form))
    at = random.Random(seed).randrange(len(data))
    data[at : at + len(noise)] = noise
    try:
        found = listed(bytes(data), tmp_path_factory.mktemp("tar"))
    except ItemError:
        return
    assert all(one.size >= 0 for one in found)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "--dereference"),
        (tarfile.LNKTYPE, "--dereference"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
        (b"M", "volumes"),
    ],
)
def test_links_devices_and_parts_are_listed_with_their_advice(kind: bytes, words: str, tmp_path: Path) -> None:
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = kind, "elsewhere"

    (member,) = listed(with_info(info), tmp_path)

    assert words in str(member.problem)
    assert member.target == ("elsewhere" if kind == tarfile.LNKTYPE else None)


def test_folders_are_no_members(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("folder")
    folder.type = tarfile.DIRTYPE

    assert listed(with_info(folder), tmp_path) == []


def test_files_with_holes_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("holes")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}

    (member,) = listed(with_info(info, b"x" * 600), tmp_path)

    assert "--sparse" in str(member.problem)


def test_times_and_sizes_of_pax_replace_those_of_the_header(tmp_path: Path) -> None:
    info = tarfile.TarInfo("IM1")
    info.mtime = 1_600_000_000.25

    (member,) = listed(with_info(info, b"abc"), tmp_path)

    assert (member.time, member.size) == ("1600000000.25", 3)


def test_large_sizes_of_gnu_are_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("IM1")
    info.size = 1 << 40
    path = tmp_path / "x.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    with path.open("r+b") as stream:
        stream.truncate(512 + (1 << 40))

    assert [one.size for one in tar_members(Cursor(SharedFile(io.FileIO(path))))] == [1 << 40]


def test_joined_tars_are_read_to_the_last(tmp_path: Path) -> None:
    data = tarred([("IM1", b"1")]) + tarred([("IM2", b"2")])

    assert [one.name for one in listed(data, tmp_path)] == ["IM1", "IM2"]


def test_what_stands_behind_the_end_is_left(tmp_path: Path) -> None:
    assert [one.name for one in listed(tarred([("IM1", b"1")]) + b"old tape" * 500, tmp_path)] == ["IM1"]


@pytest.mark.parametrize("cut", [700, 1400, 2000])
def test_a_tar_that_was_cut_short_says_so_after_its_members(cut: int, tmp_path: Path) -> None:
    data = tarred([("IM1", b"1" * 500), ("IM2", b"2" * 900)])[:cut]
    path, seen = tmp_path / "x.tar", list[str]()
    path.write_bytes(data)

    with pytest.raises(ItemError, match="damaged tar"):
        seen.extend(member.name for member in tar_members(Cursor(SharedFile(io.FileIO(path)))))

    assert seen == ["IM1", "IM2"][: 1 + (cut > 1536)]


def test_many_global_headers_take_no_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo.create_pax_global_header({f"key{number}": "x" * 60 for number in range(100)})

    assert [one.name for one in listed(header * 300 + tarred([("IM1", b"1")]), tmp_path)] == ["IM1"]


def test_a_header_of_more_than_a_path_needs_is_damage(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2 << 20
    with pytest.raises(ItemError, match="damaged tar"):
        listed(info.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20) + tarred([("IM1", b"1")]), tmp_path)


def test_headers_are_told_from_other_blocks_by_their_checksum() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_header(tarred([("IM1", b"1")])[:512])
    assert not is_header(bytes(512))
    assert not is_header(b"x" * 512)
    assert not is_header(b"short")
