"""Containers that are small on the disk and hold, claim or are inflated to what no archive of scans does."""

import bz2
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydicom.uid import ExplicitVRLittleEndian
from tests.archives import Scan, dataset_of
from tests.bombs import GIB, MIB
from tests.dicom.objects import encode

_ZEROS = bytes(16 * MIB)
_END = struct.Struct("<4s4HIIH")


@dataclass(frozen=True, slots=True)
class Hostile:
    """A kind of hostile container."""

    suffix: str
    make: Callable[[Path, int], None]
    """Writes the file; larger for a larger second argument, 1 for a test of all kinds."""
    reasons: frozenset[str | None]
    """Reasons of its rows; None stands for objects that are used."""
    rows: int
    """Its rows, for the argument 1."""
    per_size: int = 0
    """Rows more for each further 1."""


def _scan(study: int = 500) -> bytes:
    return encode(dataset_of(Scan(study, rows=1024)), ExplicitVRLittleEndian)


def _parts(begin: bytes, zeros: int) -> Iterator[bytes]:
    yield begin
    for _ in range(zeros // len(_ZEROS)):
        yield _ZEROS


def _zip(path: Path, members: Iterable[tuple[str, Iterable[bytes]]], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, parts in members:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                for part in parts:
                    member.write(part)


def large_member(path: Path, _: int) -> None:
    """A scan, and behind it 1 GiB of zeros."""
    info = zipfile.ZipInfo("IM1")
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as archive, archive.open(info, "w", force_zip64=True) as member:
        for part in _parts(_scan(), GIB):
            member.write(part)


def shared_data(path: Path, size: int) -> None:
    """Many members with the same data, D. Fifield, "A better zip bomb" (WOOT 2019)."""
    data = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = data.compress(_scan() + _ZEROS) + data.flush()
    crc, whole = zlib.crc32(_scan() + _ZEROS), len(_scan() + _ZEROS)
    sizes = struct.pack("<IIIHH", crc, len(packed), whole, 6, 0)
    local = b"PK\x03\x04\x14\0\0\0\x08\0" + bytes(4) + sizes + b"IM0000" + packed
    central = b"".join(
        b"PK\x01\x02\x14\0\x14\0\0\0\x08\0" + bytes(4) + sizes + bytes(14) + f"IM{number:04}".encode()
        for number in range(50 * size)
    )
    path.write_bytes(local + central + _END.pack(b"PK\5\6", 0, 0, 50 * size, 50 * size, len(central), len(local), 0))


def empty_members(path: Path, size: int) -> None:
    """Members without data, 20,000 for each 1."""
    _write_empty(path, [f"{index:08}".encode() for index in range(20_000 * size)])


def _write_empty(path: Path, names: list[bytes]) -> None:
    """Write a zip64 of members without data; zipfile would hold an object for each."""
    members, central = bytearray(), bytearray()
    for name in names:
        length, offset = struct.pack("<H", len(name)), struct.pack("<I", len(members))
        members += b"PK\x03\x04\x14\0" + bytes(20) + length + bytes(2) + name
        central += b"PK\x01\x02\x14\0\x14\0" + bytes(20) + length + bytes(12) + offset + name
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, len(names), len(names), len(central), len(members))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(members) + len(central), 1)
    end = _END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(bytes(members + central) + end64 + locator + end)


def equal_names(path: Path, size: int) -> None:
    """Members of one name, 20,000 for each 1."""
    _write_empty(path, [b"IM1"] * (20_000 * size))


def empty_files(path: Path, size: int) -> None:
    """A compressed tar of files without data, 20,000 for each 1."""
    with gzip.open(path, "wb", 1) as stream:
        for index in range(20_000 * size):
            stream.write(tarfile.TarInfo(f"{index:08}").tobuf(tarfile.USTAR_FORMAT))


def long_names(path: Path, size: int) -> None:
    """Members with names of 60,000 bytes, 100 for each 1."""
    _zip(path, [(f"{index:08}" * 7500, ()) for index in range(100 * size)], zipfile.ZIP_STORED)


def names_that_lead_out(path: Path, _: int) -> None:
    """Scans under names that are absolute, lead upwards, or have a drive."""
    names = "/etc/IM1", "../../IM1", "C:/IM1", "a/../../IM1", "..\\IM1", "\\\\host\\IM1"
    _zip(path, [(name, (_scan(600 + index),)) for index, name in enumerate(names)])


def links(path: Path, _: int) -> None:
    """Links, a pipe and a device."""
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
            info = tarfile.TarInfo(f"to-{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)


def cut_short(path: Path, _: int) -> None:
    """A zip without its end."""
    _zip(path, [("IM1", (_scan(),)), ("IM2", (_scan(),))])
    path.write_bytes(path.read_bytes()[:-100])


def lying_sizes(path: Path, _: int) -> None:
    """A scan with 64 MiB of zeros behind it, in a member that claims 1 MiB."""
    _zip(path, [("IM1", _parts(_scan(), 64 * MIB))])
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(magic) + offset
        data[at : at + 4] = struct.pack("<I", MIB)
    path.write_bytes(data)


def nested(path: Path, _: int) -> None:
    """A zip in a zip in a zip."""
    _zip(path, [("IM1", (_scan(),))])
    for _turn in range(2):
        _zip(path.with_suffix(".part"), [("inner.zip", (path.read_bytes(),))])
        path.with_suffix(".part").replace(path)


def encrypted(path: Path, _: int) -> None:
    """A member whose flags say that it is encrypted."""
    _zip(path, [("IM1", (_scan(),))])
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    path.write_bytes(data)


def _tar_of_zeros() -> Iterator[bytes]:
    info = tarfile.TarInfo("IM1")
    info.size = GIB
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from _parts(b"", GIB)


def gzip_tar(path: Path, _: int) -> None:
    """A compressed tar with 1 GiB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as stream:
        for part in _tar_of_zeros():
            stream.write(packer.compress(part))
        stream.write(packer.flush())


def bzip2_tar(path: Path, _: int) -> None:
    """The same by bzip2, in many streams."""
    head = next(_tar_of_zeros())
    zeros = bz2.compress(bytes(64 * MIB))
    path.write_bytes(bz2.compress(head) + zeros * (GIB // (64 * MIB)))


def xz_tar(path: Path, _: int) -> None:
    """The same by xz."""
    head = next(_tar_of_zeros())
    path.write_bytes(lzma.compress(head) + lzma.compress(bytes(64 * MIB), preset=0) * (GIB // (64 * MIB)))


def zstd_tar(path: Path, _: int) -> None:
    """The same by Zstandard."""
    with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as stream:
        for part in _tar_of_zeros():
            stream.write(part)


def gzip_object(path: Path, _: int) -> None:
    """A scan with 1 GiB of zeros behind it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as stream:
        for part in _parts(_scan(), GIB):
            stream.write(packer.compress(part))
        stream.write(packer.flush())


def large_dictionary(path: Path, _: int) -> None:
    """A scan in a stream that claims a dictionary of 1 GiB."""
    data = bytearray(lzma.compress(_scan(), lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    head = data[12 : 12 + (data[12] + 1) * 4]
    head[head.index(b"\x21\x01") + 2] = 36  # 1 GiB, .xz format 5.3.1
    head[-4:] = struct.pack("<I", zlib.crc32(head[:-4]))
    path.write_bytes(bytes(data[:12] + head + data[12 + len(head) :]))


def pax_headers(path: Path, size: int) -> None:
    """Global headers with many keywords before one scan."""
    header = tarfile.TarInfo.create_pax_global_header({f"key{number}": "x" * 900 for number in range(900)})
    with gzip.open(path, "wb", 1) as stream:
        for _turn in range(50 * size):
            stream.write(header)
        info = tarfile.TarInfo("IM1")
        info.size = len(_scan())
        stream.write(info.tobuf() + _scan() + bytes(-len(_scan()) % 512))


_REFUSED = frozenset({"container_not_opened"})
_NOTHING = frozenset({"not_dicom"})
HOSTILE = {
    "large member": Hostile(".zip", large_member, _REFUSED, 1),
    "shared data": Hostile(".zip", shared_data, _REFUSED, 50, 50),
    "empty members": Hostile(".zip", empty_members, _NOTHING, 20_000, 20_000),
    "equal names": Hostile(".zip", equal_names, _NOTHING, 20_000, 20_000),
    "empty files": Hostile(".tar.gz", empty_files, _NOTHING, 20_000, 20_000),
    "long names": Hostile(".zip", long_names, _NOTHING, 100, 100),
    "names that lead out": Hostile(".zip", names_that_lead_out, _REFUSED, 6),
    "links and devices": Hostile(".tar", links, _REFUSED, 5),
    "cut short": Hostile(".zip", cut_short, _REFUSED, 1),
    "lying sizes": Hostile(".zip", lying_sizes, _REFUSED, 1),
    "nested": Hostile(".zip", nested, _REFUSED, 1),
    "encrypted": Hostile(".zip", encrypted, _REFUSED, 1),
    "zeros in a tar, gzip": Hostile(".tar.gz", gzip_tar, _REFUSED | {"not_dicom"}, 2),
    "zeros in a tar, bzip2": Hostile(".tar.bz2", bzip2_tar, _REFUSED | {"not_dicom"}, 2),
    "zeros in a tar, xz": Hostile(".tar.xz", xz_tar, _REFUSED | {"not_dicom"}, 2),
    "zeros in a tar, Zstandard": Hostile(".tar.zst", zstd_tar, _REFUSED | {"not_dicom"}, 2),
    "zeros behind a scan, gzip": Hostile(".dcm.gz", gzip_object, _REFUSED, 1),
    "large dictionary": Hostile(".dcm.xz", large_dictionary, frozenset({"read_error"}), 1),
    "many headers": Hostile(".tar.gz", pax_headers, frozenset({None}), 1),
}
