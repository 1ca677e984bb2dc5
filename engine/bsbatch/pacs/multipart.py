"""Parts of a ``multipart/related`` body, RFC 2046 section 5.1, one at a time while the body arrives."""

from collections.abc import Callable, Iterator
from email.message import Message

from bsbatch.errors import ItemError
from bsbatch.pacs.protocol import Trouble

_CHUNK, _HEAD_BYTES = 1 << 18, 1 << 16
LARGEST_OBJECT = 1 << 30
"""Bytes of an object: a scan has some MB, and what is larger is never held in memory."""


def boundary_of(content_type: str) -> str | None:
    """Return the boundary of a multipart body; None if the body is something else."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return message.get_boundary() if message.get_content_maintype() == "multipart" else None


def parts(read: Callable[[int], bytes], boundary: str, largest: int = LARGEST_OBJECT) -> Iterator[bytes]:
    """Yield the content of each part, without its header.

    Parameters
    ----------
    read
        Returns up to so many bytes of the body, none at its end.
    boundary
        See `boundary_of`.
    largest
        Most bytes of a part.

    Raises
    ------
    ItemError
        ``incomplete``: the body ends before its last boundary. ``too_large``.
    """
    delimiter, body = b"\r\n--" + boundary.encode("latin-1", "replace"), _Body(read)
    body.data += b"\r\n"  # the first boundary may have no line before it
    body.up_to(delimiter, _HEAD_BYTES)
    while not body.follows(b"--"):
        body.up_to(b"\r\n", _HEAD_BYTES)
        if not body.follows(b"\r\n"):
            body.up_to(b"\r\n\r\n", _HEAD_BYTES)
        yield body.up_to(delimiter, largest)


class _Body:
    """A body that is read as far as it is searched."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.data = bytearray()

    def follows(self, mark: bytes) -> bool:
        """Return True, and pass it, if the mark comes next."""
        while len(self.data) < len(mark):
            self._more()
        is_next = self.data.startswith(mark)
        del self.data[: len(mark) if is_next else 0]
        return is_next

    def up_to(self, mark: bytes, most: int) -> bytes:
        """Return the bytes before the mark, and pass it."""
        searched = 0
        while (at := self.data.find(mark, searched)) < 0:
            searched = max(0, len(self.data) - len(mark) + 1)
            if searched > most:
                raise ItemError(Trouble.TOO_LARGE, f"the PACS sends more than the {most} bytes that are accepted")
            self._more()
        found = bytes(memoryview(self.data)[:at])
        del self.data[: at + len(mark)]
        return found

    def _more(self) -> None:
        chunk = self._read(_CHUNK)
        if not chunk:
            raise ItemError(Trouble.INCOMPLETE, "the answer of the PACS ends too early")
        self.data += chunk
