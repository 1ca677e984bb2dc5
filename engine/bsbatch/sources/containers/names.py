"""Names of members: decoded, checked, and made unique for the rows of a run."""

import struct
import zlib
from array import array
from bisect import bisect_left

import numpy as np

from bsbatch.identity import DigestSet
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.sources.directory import printable

UNICODE_FLAG = 1 << 11
"""General purpose bit 11 of a zip member: its name is UTF-8 (APPNOTE appendix D)."""
_UNICODE_PATH = 0x7075
_MASK = (1 << 64) - 1
CLIMBS = "its name leads out of the archive or is no path: look where it comes from, and unpack it by hand"


def refuse(message: str) -> Verdict:
    """Return the verdict on a member or container that is not opened."""
    return Verdict(Stage.LIST, Reason.CONTAINER_NOT_OPENED, message)


def climbs_out(name: str) -> bool:
    """Return True for absolute names, names with a drive, with ``..`` or NUL; a backslash counts as a slash."""
    if name.startswith(("/", "\\")) or "\0" in name or (name[1:2] == ":" and name[0].isalpha()):
        return True
    return ".." in name and ".." in name.replace("\\", "/").split("/")


def zip_name(raw: bytes, flags: int, extra: bytes) -> str:
    """Decode the name of a zip member: UTF-8 if it says so, else its Unicode Path Extra Field, else code page 437."""
    if flags & UNICODE_FLAG:
        return raw.decode("utf-8", "surrogateescape")
    if raw.isascii():
        return raw.decode("ascii")
    found = extra_field(extra, _UNICODE_PATH)
    if found[:1] == b"\x01" and found[1:5] == struct.pack("<I", zlib.crc32(raw)):  # APPNOTE 4.6.9
        return found[5:].decode("utf-8", "surrogateescape")
    return raw.decode("cp437")


def extra_field(extra: bytes, wanted: int) -> bytes:
    """Return the data of the first extra field of a kind (APPNOTE 4.5.1), or nothing."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""


def row_name(member: str) -> str:
    """Name of a member for rows, valid Unicode and without a leading ``./``."""
    while member.startswith("./"):
        member = member[2:]
    return printable(member.replace("\0", "\u2400"))


class Namer:
    """Names the members of one container for rows, so that equal names stay distinct.

    A later member of the same name has its number in the container appended. At most 32 bytes are held for each
    member, or for each name that occurs twice if all are known.
    """

    def __init__(self, known: "array[int] | None" = None) -> None:
        """``known`` holds the hashes of all names, sorted, where they are known beforehand."""
        self._seen = DigestSet()
        self._known = known
        numbers = np.frombuffer(known, np.int64) if known else np.empty(0, np.int64)
        self._repeated = frozenset(numbers[1:][numbers[1:] == numbers[:-1]].tolist())

    def __contains__(self, member: str) -> bool:
        return hash(row_name(member)) & _MASK in self._seen

    def name(self, member: str, number: int) -> str:
        """Return the name of a member; ``number`` counts the members before it."""
        name = row_name(member)
        key = hash(name)
        if self._known is not None and key not in self._repeated:
            return name
        while key & _MASK in self._seen:
            name += f"#{number}"
            key = hash(name)
            while self._is_known(key):
                name += "#"
                key = hash(name)
        self._seen.add(key & _MASK)
        return name

    def _is_known(self, key: int) -> bool:
        if not self._known:
            return False
        index = bisect_left(self._known, key)
        return index < len(self._known) and self._known[index] == key
