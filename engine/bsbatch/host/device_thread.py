"""A thread that owns a device and serves a queue of work for it."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from bsbatch.host.threads import In, Out, Pending

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)


class DeviceQueue(Protocol[Item, Result]):
    """The work queue of a device: items run asynchronously and finish in the order in which they began."""

    depth: int
    """Maximum number of items in flight."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, item: Item) -> None:
        """Start an item; return at once."""
        ...

    def finish(self) -> Result:
        """Wait for the oldest item in flight and return its result."""
        ...


class DeviceThread(Generic[In, Out]):
    """A thread that owns a device: it alone creates, enters, uses and leaves the device's queue.

    An error ends the thread. Every pending and every later item then fails with that error.
    """

    def __init__(self, make: Callable[[], DeviceQueue[In, Out]], name: str) -> None:
        """Store the factory; the thread starts on enter and calls it."""
        self._make = make
        self._requests: SimpleQueue[tuple[In, Future[Out]] | None] = SimpleQueue()
        self._in_flight: deque[Future[Out]] = deque()
        self._unfinished: deque[Future[Out]] = deque()
        """For a moment an item is in no other place: when the thread has taken it out of the queue."""
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
        self._requests.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    @property
    def pending(self) -> int:
        """Items that have not finished."""
        return len(self._unfinished)

    def put(self, item: In) -> "Pending[Out]":
        """Queue an item behind the earlier ones; return its pending result."""
        result: Future[Out] = Future()
        self._unfinished.append(result)
        self._requests.put((item, result))
        return result

    def _work(self) -> None:
        try:
            with self._make() as queue:
                self._ready.set_result(None)
                self._serve(queue)
        except BaseException as error:
            self._refuse(error)

    def _serve(self, queue: DeviceQueue[In, Out]) -> None:
        """Begin requests while the queue has room, otherwise finish the oldest item; wait if there is neither."""
        while self._is_open or self._in_flight:
            entry = self._next(len(self._in_flight) < queue.depth)
            if entry is not None:
                item, result = entry
                self._in_flight.append(result)
                queue.begin(item)
            elif self._in_flight:
                found = queue.finish()
                self._unfinished.popleft()
                self._in_flight[0].set_result(found)
                self._in_flight.popleft()

    def _next(self, has_room: bool) -> tuple[In, Future[Out]] | None:
        """Return the next request, or None if there is none, the queue is full or the end was reached."""
        if not (has_room and self._is_open):
            return None
        try:
            entry = self._requests.get(block=not self._in_flight)
        except Empty:
            return None
        self._is_open = entry is not None
        return entry

    def _refuse(self, error: BaseException) -> None:
        """Fail all items in flight, and all requests until the end, with an error."""
        if not self._ready.done():
            self._ready.set_exception(error)
            return
        if not (self._in_flight or self._is_open):
            self._error = error  # raised on leaving the queue: no item is left to fail, so `__exit__` raises it
        for result in self._in_flight:
            result.set_exception(error)
        while self._is_open:
            entry = self._requests.get()
            self._is_open = entry is not None
            if entry is not None:
                entry[1].set_exception(error)


def distribute(threads: Sequence[DeviceThread[In, Out]], items: Iterable[In], ahead: int) -> Generator[Out, None, None]:
    """Give each item to the thread with the fewest pending items; yield the results in the order of the items.

    Parameters
    ----------
    threads
        All entered.
    items
        Read only when a thread has room. The first failure is raised once all submitted items have ended.
    ahead
        Maximum number of pending items for each thread.
    """
    pending: deque[Pending[Out]] = deque()
    try:
        for item in items:
            if len(pending) == ahead * len(threads):
                yield pending.popleft().result()
            pending.append(put_to_least(threads, item))
        while pending:
            yield pending.popleft().result()
    finally:
        wait(pending)


def put_to_least(threads: Sequence[DeviceThread[In, Out]], item: In) -> "Pending[Out]":
    """Give an item to the thread with the fewest pending items."""
    return min(threads, key=lambda thread: thread.pending).put(item)
