"""A thread that owns a device and serves a queue of work for it."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from bsbatch.host.threads import In, Out, Pending

Taken = TypeVar("Taken", contravariant=True)
Given = TypeVar("Given", covariant=True)


class DeviceQueue(Protocol[Taken, Given]):
    """Where work is begun and, while it goes on by itself, more of it; finished in the same order."""

    depth: int
    """Pieces of work that may be begun and not finished."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, item: Taken) -> None:
        """Start a piece of work."""
        ...

    def finish(self) -> Given:
        """Wait for the oldest piece that was begun."""
        ...


class DeviceThread(Generic[In, Out]):
    """A thread that owns a station: it alone makes, enters, uses and leaves it.

    An error ends it, and is the answer to all that waits and all that comes.
    """

    def __init__(self, make: Callable[[], DeviceQueue[In, Out]], name: str) -> None:
        """Start nothing yet; the thread makes the station."""
        self._make = make
        self._asked: SimpleQueue[tuple[In, Future[Out]] | None] = SimpleQueue()
        self._begun: deque[Future[Out]] = deque()
        self._ready: Future[None] = Future()
        self._is_open = True
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"bsbatch-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asked.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: In) -> "Pending[Out]":
        """Have a piece of work done behind those before."""
        answer: Future[Out] = Future()
        self._asked.put((item, answer))
        return answer

    def _work(self) -> None:
        try:
            with self._make() as station:
                self._ready.set_result(None)
                self._serve(station)
        except BaseException as error:
            self._refuse(error)

    def _serve(self, station: DeviceQueue[In, Out]) -> None:
        """Begin while there is room and something to do, else finish the oldest, else wait."""
        while self._is_open or self._begun:
            entry = self._next(len(self._begun) < station.depth)
            if entry is not None:
                item, answer = entry
                self._begun.append(answer)
                station.begin(item)
            elif self._begun:
                self._begun[0].set_result(station.finish())
                self._begun.popleft()

    def _next(self, has_room: bool) -> tuple[In, Future[Out]] | None:
        """What is to be begun now; None where there is nothing, or no room, or the end has come."""
        if not (has_room and self._is_open):
            return None
        try:
            entry = self._asked.get(block=not self._begun)
        except Empty:
            return None
        self._is_open = entry is not None
        return entry

    def _refuse(self, error: BaseException) -> None:
        """Answer all that waits, and all that still comes until the end, with an error."""
        if not self._ready.done():
            self._ready.set_exception(error)
            return
        if not (self._begun or self._is_open):
            self._error = error  # while it was left: there is nobody else to tell
        for answer in self._begun:
            answer.set_exception(error)
        while self._is_open:
            entry = self._asked.get()
            self._is_open = entry is not None
            if entry is not None:
                entry[1].set_exception(error)


def distribute(
    conveyors: Sequence[DeviceThread[In, Out]], items: Iterable[In], ahead: int
) -> Generator[Out, None, None]:
    """Hand items to whichever conveyor has the least to do and yield the results in the order of the items.

    Parameters
    ----------
    conveyors
        All entered.
    items
        Taken when there is room; the first failure is raised, after all that was begun has ended.
    ahead
        Items that each conveyor has at most.
    """
    pending: deque[tuple[Pending[Out], int]] = deque()
    try:
        for item in items:
            if len(pending) == ahead * len(conveyors):
                yield pending.popleft()[0].result()
            load = Counter(dict.fromkeys(range(len(conveyors)), 0))
            load.update(number for answer, number in pending if not answer.done())
            least = min(load, key=load.__getitem__)
            pending.append((conveyors[least].put(item), least))
        while pending:
            yield pending.popleft()[0].result()
    finally:
        wait([answer for answer, _ in pending])
