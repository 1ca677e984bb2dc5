"""The files below a folder, listed recursively in sorted order."""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar, cast

from bsbatch.errors import ItemError, MachineError, SourceError, UsageError
from bsbatch.host.threads import adaptive_map
from bsbatch.native.files import FileStatus, heads_of, open_plain, statuses_of
from bsbatch.protocols import FilePart
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict
from bsbatch.records import ObjectRef

_RETRY_DELAYS = (0.05, 0.25)
_IN_A_CALL, _LEAST_AT_ONCE, _MOST_AT_ONCE = 32, 2, 64
"""Files whose status is found in one call, and fewest and most of these calls at once while a file system makes them
wait: some send names and kinds without sizes and times."""
_REPLACED = "a folder, pipe, socket or device has taken the place of the file since it was listed: run again"

_UNDECODABLE: dict[int, int | str] = {
    0xF700: "\uf700\uf700",
    **{0xF700 + byte: "\uf700" + chr(0xF700 + byte) for byte in range(0x80, 0x100)},
    **{0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)},
}
"""Maps Python's surrogates of undecodable bytes (PEP 383) to private-use characters, and escapes those characters."""

Identity = tuple[int, int]
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class _Folder:
    path: str
    prefix: str
    """Path relative to the root, ending with a slash."""
    ancestors: tuple[Identity, ...]


class FoundFile(NamedTuple):
    """An entry of a folder that is no folder."""

    path: str
    name: str
    """Path relative to the root."""


class DirectorySource:
    """The files below a folder. Links are followed; a loop of links ends where it begins again."""

    heads_at_once = 32
    """Most objects are rejected within 0.1 ms."""

    def __init__(self, root: Path) -> None:
        """Check that the folder exists and can be listed.

        Raises
        ------
        UsageError
            It does not exist or cannot be listed.
        """
        self._root = os.fspath(root)
        try:
            with os.scandir(self._root):
                pass
            self._identity = _identity(self._root)
        except OSError as error:
            raise UsageError(f"the archive {root} cannot be read: {error.strerror}") from error

    def __iter__(self) -> Iterator[ObjectRef]:
        """Yield every file, and every folder that cannot be listed, in the order of their relative paths."""
        yield from adaptive_map(self._refs, self._walk(), _LEAST_AT_ONCE, _IN_A_CALL, _MOST_AT_ONCE)
        self._check_root()

    def _walk(self) -> "Iterator[FoundFile | ObjectRef]":
        folders = [iter(self._scan(_Folder(self._root, "", ())))]
        while folders:  # no recursion: folders may be nested deeper than Python's limit of calls
            entry = next(folders[-1], None)
            if entry is None:
                folders.pop()
            elif isinstance(entry, _Folder):
                folders.append(iter(self._scan(entry)))
            else:
                yield entry

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Read the first bytes of files, with two retries after an error of the file system."""
        paths = [_path_of(ref) for ref in refs]
        return [
            self._head_again(path, count) if isinstance(head, OSError) else head
            for path, head in zip(paths, heads_of(paths, count), strict=True)
        ]

    def file(self, ref: ObjectRef) -> FilePart:
        """All of a file."""
        return FilePart(_path_of(ref), 0)

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open a file, unbuffered, with two retries after an error of the file system."""
        return self._retry(lambda: cast("BinaryIO", FileIO(open_plain(_path_of(ref)))))

    def _head_again(self, path: str, count: int) -> bytes | ItemError:
        def attempt() -> bytes:
            (head,) = heads_of([path], count)
            if isinstance(head, OSError):
                raise head
            return head

        try:
            return self._retry(attempt)
        except ItemError as error:
            return error

    def _retry(self, attempt: Callable[[], Out]) -> Out:
        try:
            return _with_retries(attempt)
        except OSError as error:
            self._check_root()
            reason = reason_of(error)
            message = _REPLACED if error.errno in {errno.EINVAL, errno.EISDIR} else EXPLANATIONS[reason]
            raise ItemError(reason, message) from error

    def _scan(self, folder: "_Folder") -> "Iterator[FoundFile | _Folder | ObjectRef]":
        """Yield the entries of one folder."""
        try:
            here = _identity(folder.path)
            entries = [] if here in folder.ancestors else _with_retries(lambda: _listing(folder.path))
        except OSError as error:
            self._check_root()
            yield ObjectRef(printable(folder.prefix), folder.path, 0, "", _unlistable(error))
            return
        for is_folder, entry in entries:
            if is_folder:
                yield _Folder(entry.path, f"{folder.prefix}{entry.name}/", (*folder.ancestors, here))
            else:
                yield FoundFile(entry.path, folder.prefix + entry.name)

    def _refs(self, found: "Sequence[FoundFile | ObjectRef]") -> list[ObjectRef]:
        """Make references of files; a folder that cannot be listed has one already."""
        statuses = iter(statuses_of([item.path for item in found if isinstance(item, FoundFile)]))
        return [self._ref(item, next(statuses)) if isinstance(item, FoundFile) else item for item in found]

    def _ref(self, file: "FoundFile", status: FileStatus | os.stat_result | OSError) -> ObjectRef:
        source = printable(file.name)
        try:
            if isinstance(status, OSError):
                status = _with_retries(partial(os.stat, file.path))
        except OSError as error:
            self._check_root()
            return ObjectRef(source, file.path, 0, "", _unlistable(error))
        if stat.S_ISREG(status.st_mode):
            return ObjectRef(source, file.path, status.st_size, str(status.st_mtime_ns))
        problem = Verdict(Stage.LIST, Reason.NOT_DICOM, "a pipe, socket or device, not a file")
        return ObjectRef(source, file.path, 0, str(status.st_mtime_ns), problem)

    def _check_root(self) -> None:
        """Raise `SourceError` if the archive itself has disappeared, as opposed to one bad file."""
        try:
            if _identity(self._root) != self._identity:  # an empty mount point still exists
                raise FileNotFoundError(self._root)
        except OSError as error:
            raise SourceError(
                f"the archive {self._root} has disappeared: mount it again and run the same command to continue"
            ) from error


def _listing(folder: str) -> "list[tuple[bool, os.DirEntry[str]]]":
    """Return True for a folder, and the entry, in the order of relative paths; folders sort with their slash."""
    with os.scandir(folder) as entries:
        listing = [(_is_folder(entry), entry) for entry in entries]
    return sorted(listing, key=lambda entry: entry[1].name + "/" if entry[0] else entry[1].name)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: str) -> Identity:
    status = os.stat(folder)  # noqa: PTH116 - the walk works on strings
    return status.st_dev, status.st_ino


def _with_retries(attempt: Callable[[], Out]) -> Out:
    for delay in _RETRY_DELAYS:
        try:
            return attempt()
        except FileNotFoundError:
            raise
        except PermissionError:  # rarely temporary: only one retry, since an archive may hold many
            time.sleep(_RETRY_DELAYS[0])
            break
        except OSError:
            time.sleep(delay)
    return attempt()


def _path_of(ref: ObjectRef) -> str:
    return cast("str", ref.location)


def _unlistable(error: OSError) -> Verdict:
    return Verdict.of(Stage.LIST, reason_of(error))


def reason_of(error: OSError) -> Reason:
    """Return the reason of an error of the file system; raise `MachineError` if the machine lacks something."""
    machine = MachineError.of(error)
    if machine is not None:
        raise machine from error
    return Reason.PERMISSION_DENIED if isinstance(error, PermissionError) else Reason.READ_ERROR


def printable(source: str) -> str:
    """Return valid Unicode for the tables: undecodable bytes become U+F780 to U+F7FF, so that names stay distinct."""
    return source if source.isascii() else source.translate(_UNDECODABLE)
