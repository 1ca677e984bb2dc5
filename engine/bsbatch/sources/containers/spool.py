"""Members of compressed tars in unlinked temporary files, which no kill leaves behind; the oldest ones make room."""

import os
import shutil
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from bsbatch.errors import MachineError
from bsbatch.host import limits
from bsbatch.host.threads import Budget
from bsbatch.sources.containers.reading import SharedFile


class Spool:
    """Bytes by address, in files of equal size; several threads may use it at once.

    There are as many files as `limits.SPOOL_BYTES` and half of the free space allow, at least four.
    """

    def __init__(self) -> None:
        self._one_thread = Budget(1)
        self._files: dict[int, SharedFile] = {}
        self._end = 0
        self._room = limits.INFLATED_BYTES
        free = shutil.disk_usage(tempfile.gettempdir()).free
        self.capacity = max(4 * self._room, min(limits.SPOOL_BYTES, free // 2))
        """Bytes."""

    def add(self, size: int, chunks: Iterable[bytes]) -> tuple[int, int]:
        """Write at most `limits.INFLATED_BYTES`; return their address, and the number of bytes that the chunks had.

        Raises
        ------
        MachineError
            The temporary folder is full.
        """
        done = 0
        try:
            file, address = self._reserve(size)
            for chunk in chunks:
                done += _write(file, chunk, address % self._room + done)
        except OSError as error:
            raise MachineError(
                f"the temporary folder {tempfile.gettempdir()} cannot be written to: make room there, or name another "
                "one with TMPDIR; the same command goes on"
            ) from error
        return address, done

    def find(self, address: int) -> tuple[SharedFile, int] | None:
        """Return the file of an address and the offset in it; None if it has made room for others.

        The file stays as long as it is used.
        """
        file = self._files.get(address // self._room)
        return None if file is None else (file, address % self._room)

    def _reserve(self, size: int) -> tuple[SharedFile, int]:
        with self._one_thread.spend(1):
            number, used = divmod(self._end, self._room)
            if used + size > self._room:
                number, used = number + 1, 0
            if number not in self._files:
                self._files[number] = SharedFile(tempfile.TemporaryFile())  # noqa: SIM115 - it closes it
                self._files.pop(number - self.capacity // self._room, None)
            self._end = number * self._room + used + size
            return self._files[number], self._end - size


class Addresses:
    """Addresses of the members of one archive by their offsets, 24 bytes each."""

    def __init__(self) -> None:
        self._offsets, self._addresses, self._counts = array("Q"), array("Q"), array("Q")
        self._one_thread = Budget(1)

    def set(self, offset: int, address: int, count: int) -> None:
        """Note the address of the first ``count`` bytes of a member."""
        with self._one_thread.spend(1):
            index = bisect_left(self._offsets, offset)
            if index == len(self._offsets) or self._offsets[index] != offset:
                for numbers, number in ((self._addresses, 0), (self._counts, 0), (self._offsets, offset)):
                    numbers.insert(index, number)
            self._addresses[index], self._counts[index] = address, count

    def get(self, offset: int) -> tuple[int, int]:
        """Return address and number of bytes; no bytes if there are none."""
        with self._one_thread.spend(1):
            index = bisect_left(self._offsets, offset)
            is_here = index < len(self._offsets) and self._offsets[index] == offset
            return (self._addresses[index], self._counts[index]) if is_here else (0, 0)


def _write(file: SharedFile, chunk: bytes, offset: int) -> int:
    done = 0
    while done < len(chunk):
        done += os.pwrite(file.fileno(), chunk[done:], offset + done)
    return done
