"""An iterable that is consumed once, by a thread ahead of its readers, and iterated by any number of them."""

import pickle
import threading
import zlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from types import TracebackType
from typing import Generic, Self, TypeVar

from bsbatch.errors import OutputError

_BLOCK = 1024
"""Items that are compressed and written together."""
_LEVEL = 1
Item = TypeVar("Item")


class Replay(Generic[Item]):
    """The items of an iterable; every iteration begins at the first one and waits for those that are not there yet.

    A thread consumes the iterable between enter and exit. Items wait in a temporary file without a name, in about 30
    bytes each for paths that resemble each other. An error of the iterable is raised after the items before it, in
    every iteration.
    """

    def __init__(self, items: Iterable[Item], folder: Path | None = None) -> None:
        """Keep the iterable; ``folder`` is that of the temporary file, None for the system's."""
        self._items, self._folder = items, folder
        lock = threading.RLock()
        self._changed, self._completed = threading.Condition(lock), threading.Condition(lock)
        """Two, so that no item wakes a thread that waits for the last one."""
        self._fresh: list[Item] = []
        """The items after the last whole block."""
        self._blocks: list[tuple[int, int]] = []
        """Offset and size of each block in the file."""
        self._error: BaseException | None = None
        self._is_complete = self._is_stopped = False

    def __enter__(self) -> Self:
        """Start the thread."""
        try:
            self._file = TemporaryFile(dir=self._folder)
        except OSError as error:
            raise OutputError.of(self._folder or Path(gettempdir()), error) from error
        self._thread = threading.Thread(target=self._consume, name="bsbatch-replay", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread, even if items are left, and remove the file."""
        self._is_stopped = True
        self._thread.join()
        self._file.close()

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        position = 0
        while (items := self._after(position)) is not None:
            yield from items
            position += len(items)

    def count(self) -> int:
        """Return the number of items; blocks until all are consumed."""
        with self._completed:
            self._completed.wait_for(lambda: self._is_complete)
            if self._error is not None:
                raise self._error
            return self._produced()

    def _produced(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._fresh)

    def _after(self, position: int) -> list[Item] | None:
        """Items from a position on, at least one; None at the end."""
        number, start = divmod(position, _BLOCK)
        with self._changed:
            self._changed.wait_for(lambda: position < self._produced() or self._is_complete)
            if number >= len(self._blocks):
                fresh = self._fresh[position - len(self._blocks) * _BLOCK :]
                if not fresh and self._error is not None:
                    raise self._error
                return fresh or None
            offset, size = self._blocks[number]
            self._file.seek(offset)
            packed = self._file.read(size)
        block: list[Item] = pickle.loads(zlib.decompress(packed))
        return block[start:]

    def _consume(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if self._is_stopped:
                    break
                self._append(item)
        except BaseException as found:
            error = found
        finally:
            if isinstance(self._items, Generator):
                self._items.close()
            with self._changed:
                self._is_complete, self._error = True, error
                self._changed.notify_all()
                self._completed.notify_all()

    def _append(self, item: Item) -> None:
        with self._changed:
            self._fresh.append(item)
            if len(self._fresh) == _BLOCK:
                self._write()
            self._changed.notify_all()

    def _write(self) -> None:
        packed = zlib.compress(pickle.dumps(self._fresh, pickle.HIGHEST_PROTOCOL), _LEVEL)
        offset = sum(self._blocks[-1]) if self._blocks else 0
        try:
            self._file.seek(offset)
            self._file.write(packed)
            self._file.flush()
        except OSError as error:
            raise OutputError.of(self._folder or Path(gettempdir()), error) from error
        self._blocks.append((offset, len(packed)))
        self._fresh = []
