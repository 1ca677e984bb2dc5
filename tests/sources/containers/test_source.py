import io
import os
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.containers.made import COMPRESS, put, tarred, zipped

from bsbatch.errors import ItemError, SourceError
from bsbatch.host import limits
from bsbatch.reasons import Reason, Status
from bsbatch.records import ObjectRef
from bsbatch.sources.containers.source import ContainerSource
from bsbatch.sources.directory import DirectorySource
from bsbatch.sources.single_file import FileSource

DICOM = bytes(128) + b"DICM" + bytes(range(256)) * 200
OTHER = bytes(128) + b"DICM" + b"another" * 5000
SMALL = b"a note"
MEMBERS = [("DICOMDIR", SMALL), ("A/IM1", DICOM), ("A/IM2", OTHER), ("empty", b"")]
STORED = zipped(MEMBERS, zipfile.ZIP_STORED)
PACKED: dict[str, bytes] = {
    "stored.zip": STORED,
    "deflated.zip": zipped(MEMBERS),
    "led.ZIP": b"#!/bin/sh\n" + STORED,
    "plain.tar": tarred(MEMBERS),
    "wrong.zip": tarred(MEMBERS),
    **{f"packed.tar.{kind}": compress(tarred(MEMBERS)) for kind, compress in COMPRESS.items()},
    "short.tgz": COMPRESS["gz"](tarred(MEMBERS, tarfile.GNU_FORMAT)),
}


def source_of(folder: Path, keep: Callable[[bytes], bool] = lambda _: True) -> ContainerSource:
    return ContainerSource(DirectorySource(folder), keep)


def whole(source: ContainerSource, ref: ObjectRef) -> bytes:
    with source.open(ref) as stream:
        return stream.read()


def only(source: ContainerSource) -> ObjectRef:
    (ref,) = source
    return ref


def failure(folder: Path, name: str, data: bytes) -> tuple[str, str]:
    """Source and message of the one row of a container that is not opened."""
    put(folder / name, data)
    ref = only(source_of(folder))
    assert ref.problem is not None
    assert (ref.problem.reason, ref.problem.status) == (Reason.CONTAINER_NOT_OPENED, Status.FAILED)
    return ref.source, ref.problem.message


def error_of(result: bytes | ItemError) -> str:
    assert isinstance(result, ItemError)
    return f"{result.reason}: {result.message}"


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("is_kept", [True, False])
def test_members_are_listed_headed_opened_and_found_as_files_are(name: str, is_kept: bool, tmp_path: Path) -> None:
    put(tmp_path / "x" / name, PACKED[name])
    source = source_of(tmp_path, lambda _: is_kept)

    refs = list(source)

    assert [ref.source for ref in refs] == [f"x/{name}!/{member}" for member, _ in MEMBERS]
    assert [ref.size for ref in refs] == [len(data) for _, data in MEMBERS]
    assert all(ref.problem is None for ref in refs)
    assert source.heads(refs, 8192) == [data[:8192] for _, data in MEMBERS]
    assert source.heads(refs[::-1], 300) == [data[:300] for _, data in MEMBERS[::-1]]
    assert source.heads(refs, 20_000) == [data[:20_000] for _, data in MEMBERS]
    assert [whole(source, ref) for ref in refs] == [data for _, data in MEMBERS]
    for ref, (_, data) in zip(refs, MEMBERS, strict=True):
        if place := source.file(ref):
            with Path(place[0]).open("rb") as stream:
                stream.seek(place[1])
                assert stream.read(len(data)) == data
    assert all(map(source.file, refs)) is (name in {"stored.zip", "led.ZIP", "plain.tar", "wrong.zip"})


@pytest.mark.parametrize("name", PACKED)
def test_a_single_container_is_an_archive_too(name: str, tmp_path: Path) -> None:
    put(tmp_path / name, PACKED[name])
    put(tmp_path / "beside", b"")
    source = ContainerSource(FileSource(tmp_path / name))

    assert [ref.source for ref in source] == [f"{name}!/{member}" for member, _ in MEMBERS]
    assert [whole(source, ref) for ref in source] == [data for _, data in MEMBERS]


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("data", [DICOM, SMALL, b""])
def test_single_objects_are_inflated(kind: str, data: bytes, tmp_path: Path) -> None:
    put(tmp_path / f"IM1.dcm.{kind}", COMPRESS[kind](data))
    source = source_of(tmp_path)
    ref = only(source)

    assert (ref.source, ref.size, source.file(ref)) == (f"IM1.dcm.{kind}", None, None)
    assert source.heads([ref], 8192) == [data[:8192]]
    assert whole(source, ref) == data
    with source.open(ref) as stream:
        assert stream.seek(0, io.SEEK_END) == len(data)


@pytest.mark.parametrize("name", ["IM1.gz", "IM1.zip", "IM1.tar", "IM1.tar.xz", "IM1.iso"])
def test_a_dicom_file_with_the_suffix_of_a_container_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    put(tmp_path / name, DICOM)
    source = source_of(tmp_path)
    ref = only(source)

    assert ref.source == name
    assert source.heads([ref], 8192) == [DICOM[:8192]]
    assert whole(source, ref) == DICOM


def test_an_object_in_a_name_that_promises_a_tar_is_read(tmp_path: Path) -> None:
    put(tmp_path / "IM1.tar.gz", COMPRESS["gz"](DICOM))
    source = source_of(tmp_path)

    assert source.heads([only(source)], 200) == [DICOM[:200]]


def test_the_order_is_that_of_files_and_then_of_members_each_time(tmp_path: Path) -> None:
    for name in ("a.tar", "b.dcm", "c.zip", "d/e.tar.gz"):
        put(tmp_path / name, PACKED.get(name[2:], DICOM) if name == "b.dcm" else zipped([("z", b"1"), ("a", b"2")]))

    first = list(source_of(tmp_path))

    assert first == list(source_of(tmp_path))
    assert [ref.source for ref in first] == [
        *("a.tar!/z", "a.tar!/a", "b.dcm", "c.zip!/z", "c.zip!/a", "d/e.tar.gz!/z", "d/e.tar.gz!/a")
    ]


def test_versions_change_with_the_content_of_a_member(tmp_path: Path) -> None:
    for name in ("x.zip", "x.tar", "x.tar.gz"):
        pack: Callable[[list[tuple[str, bytes]]], bytes] = zipped if name == "x.zip" else tarred
        compress = COMPRESS["gz"] if name.endswith("gz") else bytes
        versions = []
        for data in (b"1", b"2", b"22"):
            put(tmp_path / name, compress(pack([("first", b"0"), ("IM1", data)])))
            versions.append([ref.version for ref in source_of(tmp_path)])
        assert versions[0][0] == versions[1][0] == versions[2][0]
        assert len({tuple(version) for version in versions}) == (3 if name == "x.zip" else 2)  # tars have times only
        (tmp_path / name).unlink()


def test_a_folder_named_like_the_members_of_a_zip_stays_distinct(tmp_path: Path) -> None:
    put(tmp_path / "x.zip", zipped([("IM1", b"1")]))
    put(tmp_path / "x.zip!" / "IM1", b"2")

    assert [ref.source for ref in source_of(tmp_path)] == ["x.zip!/IM1", "x.zip!!/IM1"] or [
        ref.source for ref in source_of(tmp_path)
    ] == ["x.zip!!/IM1", "x.zip!/IM1"]


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_an_archive_without_members_has_a_row_of_its_own(name: str, tmp_path: Path) -> None:
    data = zipped([("folder/", b"")]) if name == "x.zip" else tarred([])
    put(tmp_path / name, COMPRESS["gz"](data) if name.endswith("gz") else data)

    ref = only(source_of(tmp_path))

    assert ref.problem is not None or name != "x.zip"
    assert ref.source == name


@pytest.mark.parametrize("cut", [1000, 20_000, len(STORED) - 30])
def test_a_zip_that_was_cut_short_is_refused_with_advice(cut: int, tmp_path: Path) -> None:
    source, message = failure(tmp_path, "x.zip", STORED[:cut])

    assert source == "x.zip"
    assert "zip -FF" in message


@pytest.mark.parametrize("kind", ["tar", *(f"tar.{kind}" for kind in COMPRESS)])
def test_the_members_before_the_end_of_a_tar_that_was_cut_short_are_read(kind: str, tmp_path: Path) -> None:
    data = tarred([("IM1", DICOM), ("IM2", os.urandom(900_000))])
    compress = COMPRESS.get(kind[4:], bytes)
    packed = compress(data[: len(data) // 2]) if kind == "tar" else compress(data)[: len(compress(data)) // 2]
    put(tmp_path / f"x.{kind}", packed)
    source = source_of(tmp_path)

    *members, container = source

    assert container.source == f"x.{kind}"
    assert container.problem is not None
    assert container.problem.status is Status.FAILED
    names = [ref.source for ref in members]
    assert names == [f"x.{kind}!/IM1", f"x.{kind}!/IM2"] or kind in {"tar.bz2", "tar.zst"}
    if names:
        assert whole(source, members[0]) == DICOM
        if members[-1].problem is None:
            last = source.open(members[-1])
            with pytest.raises(ItemError, match=r"ends before|damaged"):
                last.read()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("export.dat", STORED),
        ("STUDY1", tarred(MEMBERS)),
        ("IM1", COMPRESS["gz"](DICOM)),
        ("IM1", COMPRESS["xz"](tarred(MEMBERS))),
        ("IM1", COMPRESS["bz2"](DICOM)),
        ("x.gz", COMPRESS["gz"](tarred(MEMBERS))),
    ],
)
def test_a_container_without_its_suffix_fails_and_says_to_rename_it(name: str, data: bytes, tmp_path: Path) -> None:
    put(tmp_path / name, data)
    source = source_of(tmp_path)

    assert error_of(source.heads(list(source), 8192)[0]).startswith("container_not_opened: ")
    assert "rename it" in error_of(source.heads(list(source), 8192)[0])


@pytest.mark.parametrize("name", ["x.zip.001", "X.7Z.012", "x.part2.rar", "x.z01", "x.r00", "x.tar.gz.003"])
def test_the_parts_of_a_split_archive_fail_and_say_to_put_them_together(name: str, tmp_path: Path) -> None:
    put(tmp_path / name, zipped([("IM1", DICOM)])[:100])
    (ref,) = source_of(tmp_path)

    assert ref.problem is not None
    assert (ref.problem.reason, "put the parts together" in ref.problem.message) == ("container_not_opened", True)


@pytest.mark.parametrize("name", ["IM.001", "x.r01", "a.b.z99"])
def test_a_dicom_file_whose_name_ends_as_a_part_does_is_read(name: str, tmp_path: Path) -> None:
    put(tmp_path / name, DICOM)
    source = source_of(tmp_path)

    assert source.heads(list(source), 8192) == [DICOM[:8192]]


@pytest.mark.parametrize(
    "first", ["[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF", "word/document.xml", "arr_0.npy"]
)
def test_documents_that_are_zips_are_no_containers(first: str, tmp_path: Path) -> None:
    data = zipped([(first, b"text"), ("more", b"text")])
    put(tmp_path / "report.docx", data)
    source = source_of(tmp_path)

    assert source.heads(list(source), 8192) == [data[:8192]]


def test_data_of_other_programs_that_are_compressed_are_no_containers(tmp_path: Path) -> None:
    data = COMPRESS["gz"](b"R data" * 5000)
    put(tmp_path / "table.rds", data)
    source = source_of(tmp_path)

    assert source.heads(list(source), 8192) == [data[:8192]]


@pytest.mark.parametrize(
    ("name", "head"),
    [("x.7z", b"7z\xbc\xaf\x27\x1c"), ("x.rar", b"Rar!\x1a\x07\x01\x00"), ("x.zip", b"Rar!\x1a\x07\0")],
)
def test_other_archives_fail_and_say_to_unpack_them(name: str, head: bytes, tmp_path: Path) -> None:
    put(tmp_path / name, head + bytes(9000))
    source = source_of(tmp_path)

    assert "unpack it" in error_of(source.heads(list(source), 8192)[0])


def test_an_image_of_a_cd_fails_and_says_to_mount_it(tmp_path: Path) -> None:
    _, message = failure(tmp_path, "cd.ISO", bytes(0x8001) + b"CD001" + bytes(5000))

    assert "mount it" in message


@pytest.mark.parametrize("outer", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("inner", [STORED, tarred(MEMBERS), COMPRESS["gz"](DICOM)])
def test_a_container_in_a_container_fails_alone(outer: str, inner: bytes, tmp_path: Path) -> None:
    members = [("inner", inner), ("IM1", DICOM)]
    packed = zipped(members) if outer == "x.zip" else tarred(members)
    put(tmp_path / outer, COMPRESS["gz"](packed) if outer.endswith("gz") else packed)
    source = source_of(tmp_path)

    nested, head = source.heads(list(source), 8192)

    assert "archive in an archive" in error_of(nested)
    assert head == DICOM[:8192]


def test_a_document_in_a_container_is_no_nested_one(tmp_path: Path) -> None:
    put(tmp_path / "x.zip", zipped([("report.docx", zipped([("[Content_Types].xml", b"text" * 99)]))]))
    source = source_of(tmp_path)

    assert isinstance(source.heads(list(source), 8192)[0], bytes)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("memory", [1 << 25, 1000])
def test_a_damaged_member_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int, memory: int
) -> None:
    monkeypatch.setattr(limits, "INFLATED_MEMORY", memory)
    noise = os.urandom(50_000)
    data = bytearray(zipped([("IM1", noise), ("IM2", DICOM)], method))
    data[30_000] ^= 1
    put(tmp_path / "x.zip", bytes(data))
    source = source_of(tmp_path)
    refs = list(source)

    with pytest.raises(ItemError, match="damaged member") as error:
        whole(source, refs[0])

    assert error.value.reason == "read_error"
    assert whole(source, refs[1]) == DICOM


def test_a_member_whose_local_header_says_otherwise_is_refused(tmp_path: Path) -> None:
    for offset, value in ((8, b"\x08\x00"), (18, b"\x01\x00\x00\x00"), (26, b"\xff\x7f")):
        data = bytearray(zipped([("IM1", DICOM), ("IM2", DICOM)], zipfile.ZIP_STORED))
        data[offset : offset + len(value)] = value
        put(tmp_path / "x.zip", bytes(data))
        source = source_of(tmp_path)
        refs = list(source)

        assert "contradict" in error_of(source.heads(refs, 8192)[0])
        with pytest.raises(ItemError, match="contradict"):
            source.open(refs[0])
        assert whole(source, refs[1]) == DICOM


def test_a_member_that_inflates_to_more_than_declared_is_refused_after_no_more(tmp_path: Path) -> None:
    data = bytearray(zipped([("IM1", bytes(3_000_000))]))
    for at in (22, data.index(b"PK\x01\x02") + 24):
        data[at : at + 4] = struct.pack("<I", 20_000)
    put(tmp_path / "x.zip", bytes(data))
    source = source_of(tmp_path)

    with pytest.raises(ItemError, match="contradict"):
        whole(source, only(source))


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.gz"])
def test_a_member_beyond_every_scan_can_be_refused_by_its_head_but_is_not_inflated(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INFLATED_BYTES", 1 << 20)
    data = DICOM + os.urandom(2 << 20)
    packed = {"x.zip": zipped, "x.tar.gz": tarred}[name]([("IM1", data)]) if name != "x.gz" else data
    put(tmp_path / name, COMPRESS["gz"](packed) if name.endswith("gz") else packed)
    source = source_of(tmp_path)
    ref = only(source)

    assert source.heads([ref], 8192) == [data[:8192]]
    with pytest.raises(ItemError, match="far more") as error:
        whole(source, ref)
    assert error.value.reason == "container_not_opened"


def test_a_bomb_in_a_compressed_tar_costs_only_what_stands_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "INFLATED_FREE", 1 << 20)
    put(tmp_path / "x.tar.xz", COMPRESS["xz"](tarred([("IM1", DICOM), ("bomb", bytes(30 << 20)), ("IM2", DICOM)])))
    source = source_of(tmp_path)

    *members, container = source

    assert [ref.source for ref in members] == ["x.tar.xz!/IM1", "x.tar.xz!/bomb"]
    assert "far more" in str(container.problem)
    assert whole(source, members[0]) == DICOM


def test_links_to_members_are_skipped_and_others_fail(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for kind, name, target in (
            (tarfile.REGTYPE, "IM1", ""),
            (tarfile.LNKTYPE, "again", "IM1"),
            (tarfile.LNKTYPE, "lost", "IM9"),
            (tarfile.SYMTYPE, "soft", "IM1"),
            (tarfile.FIFOTYPE, "pipe", ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    put(tmp_path / "x.tar", stream.getvalue())

    statuses = [ref.problem.status if ref.problem else None for ref in source_of(tmp_path)]

    assert statuses == [None, Status.SKIPPED, *[Status.FAILED] * 3]


@pytest.mark.parametrize("name", ["../IM1", "/IM1", "C:\\IM1"])
@pytest.mark.parametrize("container", ["x.zip", "x.tar", "x.tar.gz"])
def test_names_that_lead_out_fail_alone(name: str, container: str, tmp_path: Path) -> None:
    members = [(name, DICOM), ("IM2", DICOM)]
    packed = zipped(members) if container == "x.zip" else tarred(members)
    put(tmp_path / container, COMPRESS["gz"](packed) if container.endswith("gz") else packed)

    bad, good = source_of(tmp_path)

    assert bad.source == f"{container}!/{name}"
    assert "leads out" in str(bad.problem)
    assert good.problem is None


def test_spooled_members_that_made_room_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "INFLATED_BYTES", 1 << 16)
    monkeypatch.setattr(limits, "SPOOL_BYTES", 1 << 16)
    members = [(f"IM{number}", DICOM[:132] + os.urandom(40_000)) for number in range(30)]
    put(tmp_path / "x.tar.gz", COMPRESS["gz"](tarred(members)))
    source = source_of(tmp_path)
    refs = list(source)

    for number in (*range(0, 30, 7), *range(30)):
        ref, data = refs[number], members[number][1]
        assert source.heads([ref], 8192) == [data[:8192]]
        assert whole(source, ref) == data


def test_spooled_members_leave_no_file_that_a_kill_could_leave_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    put(tmp_path / "archive" / "x.tar.gz", PACKED["packed.tar.gz"])
    source = source_of(tmp_path / "archive")

    refs = list(source)

    assert list((tmp_path / "temporary").iterdir()) == []
    assert whole(source, refs[1]) == DICOM


def test_another_process_finds_members_that_it_has_not_listed(tmp_path: Path) -> None:
    for name, data in PACKED.items():
        put(tmp_path / name, data)
    refs = list(source_of(tmp_path))

    source = source_of(tmp_path)

    assert [whole(source, ref) for ref in refs] == [data for _ in PACKED for _, data in MEMBERS]


def test_an_archive_that_disappears_is_an_error_of_the_source(tmp_path: Path) -> None:
    for name in ("x.zip", "y.dcm.gz"):
        folder = tmp_path / name[0]
        put(folder / name, PACKED["stored.zip"] if name == "x.zip" else COMPRESS["gz"](DICOM))
        refs = list(source_of(folder))
        folder.rename(tmp_path / f"gone-{name}")
        with pytest.raises(SourceError):
            ContainerSource(_moved(folder)).heads(refs, 8192)


@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
def test_a_container_that_is_written_to_is_read_no_further(name: str, tmp_path: Path) -> None:
    pack = zipped if name == "x.zip" else tarred
    path = put(tmp_path / name, pack(MEMBERS))
    source = source_of(tmp_path)
    refs = list(source)
    put(path, pack(MEMBERS[::-1]) + bytes(512))

    assert all("was changed" in error_of(head) for head in source.heads(refs, 100))
    with pytest.raises(ItemError, match="was changed"):
        source.open(refs[1])


def _moved(folder: Path) -> DirectorySource:
    folder.mkdir()
    source = DirectorySource(folder)
    folder.rmdir()
    return source


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["stored.zip", "deflated.zip", "plain.tar", "packed.tar.gz", "packed.tar.zst", "one.gz"]),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
)
def test_damaged_containers_end_as_rows(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[float, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    data = bytearray(PACKED.get(name, COMPRESS["gz"](DICOM)))
    for place, noise in changes:
        at = int(place * len(data))
        data[at : at + len(noise)] = noise
    put(folder / name, bytes(data))
    source = source_of(folder)

    refs = list(source)

    assert refs
    assert len({ref.source for ref in refs}) == len(refs)
    sound = [ref for ref in refs if ref.problem is None]
    for ref, head in zip(sound, source.heads(sound, 8192), strict=True):
        if isinstance(head, bytes):
            try:
                content = whole(source, ref)
            except ItemError:
                continue
            assert content[: len(head)] == head
