"""Threads: ordered maps, prefetching, background calls, pools of reusable objects."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from heapq import heappop, heappush
from itertools import chain, count, islice
from queue import SimpleQueue
from typing import Generic, TypeVar

_WORTH_A_THREAD = 1e-4
"""Waiting time of an item, in seconds, above which threads help. A file in memory waits a tenth of that."""
_LEAST_BUSY = 1e-6
"""Processor time of a chunk in seconds where the clock measures none."""
_SURE = 0.05
"""Seconds that chunks in a row must wait before threads are used. For the lock they may wait for a third of that."""
_FIRST_TURN, _LONGEST_TURN = 16, 4096
"""Fewest and most chunks that threads process before the waiting time is measured again."""
In = TypeVar("In")
Out = TypeVar("Out")
Pending = Future
"""A result that another thread computes."""
Event, Lock = threading.Event, threading.Lock
"""Protects state that threads share outside of this room."""
PoolClosedError = CancelledError
"""Raised by `FreeList.take` where work has ended elsewhere."""


def thread_identity() -> int:
    """Return a number that no other living thread has."""
    return threading.get_ident()


def ordered_map(
    function: Callable[[In], Out], items: Iterable[In], workers: int, chunk: int = 1, ahead: int = 4
) -> Generator[Out, None, None]:
    """Apply a function in threads and yield the results in the order of the items; the first failure is raised.

    Parameters
    ----------
    function, items
        The function and its arguments.
    workers
        Number of threads; with one worker the function runs in the calling thread.
    chunk
        Items submitted at once, because submitting costs more than a very quick function.
    ahead
        Maximum number of chunks in flight for each worker.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pending: deque[Future[list[Out]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="bsbatch") as pool:
        try:
            for part in _chunks(items, chunk):
                pending.append(pool.submit(_apply, function, part))
                if len(pending) >= ahead * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def adaptive_map(
    function: Callable[[list[In]], list[Out]], items: Iterable[In], workers: int, chunk: int, most: int = 0
) -> Generator[Out, None, None]:
    """`ordered_map` for a function that may be too quick for threads: it uses them only while calls wait.

    A thread that returns from a system call must wait for the interpreter lock if others want it. That takes longer
    than reading a file that is in memory: there, two threads are half as fast as none. They are twice as fast if the
    disk makes each of them wait. So the calling thread processes chunks and measures their waiting time. After chunks
    in a row that waited longer than the lock lets them wait, threads process the next ones, twice as many each time,
    until a chunk no longer waits. There may be more threads than processors: as many as take turns while one of them
    waits.

    Parameters
    ----------
    function
        Called with a chunk; returns a result for each of its items.
    items, workers, chunk
        See `ordered_map`; fewest threads while calls wait.
    most
        Most threads while calls wait, if more than ``workers``.
    """
    chunks, patience, in_a_row = _chunks(items, chunk), _FIRST_TURN, 0.0
    for part in chunks:
        began, busy = time.perf_counter(), time.thread_time()
        results = function(part)
        busy = time.thread_time() - busy
        waited = time.perf_counter() - began - busy
        yield from results
        if workers == 1 or waited < _WORTH_A_THREAD * len(part):
            patience, in_a_row = _FIRST_TURN, 0.0
            continue
        in_a_row += waited
        if in_a_row < _SURE:
            continue
        threads = max(workers, min(most, int(waited / max(busy, _LEAST_BUSY))))
        with closing(ordered_map(function, islice(chunks, patience), threads)) as threaded:
            yield from chain.from_iterable(threaded)
        patience = min(2 * patience, _LONGEST_TURN)


def _chunks(items: Iterable[In], size: int) -> Iterator[list[In]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _apply(function: Callable[[In], Out], items: list[In]) -> list[Out]:
    return [function(item) for item in items]


def prefetch(items: Iterable[In], depth: int) -> Generator[In, None, None]:
    """Iterate in another thread, at most ``depth`` items ahead; an error is raised after the items before it.

    If ``items`` is a generator, it is closed in that thread, too.
    """
    ready: SimpleQueue[tuple[In] | BaseException | None] = SimpleQueue()
    slots, stopped = threading.Semaphore(depth), threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, slots, stopped), name="bsbatch-ahead", daemon=True)
    thread.start()
    try:
        while (entry := ready.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            slots.release()
            yield entry[0]
    finally:
        stopped.set()
        slots.release()
        thread.join()


def _produce(
    items: Iterable[In],
    ready: "SimpleQueue[tuple[In] | BaseException | None]",
    slots: threading.Semaphore,
    stopped: threading.Event,
) -> None:
    """Run the thread of `prefetch`; None marks the end of the items."""
    try:
        source = iter(items)
        while slots.acquire() and not stopped.is_set():
            ready.put((next(source),))
    except StopIteration:
        ready.put(None)
    except BaseException as error:
        ready.put(error)
    finally:
        if isinstance(items, Generator):
            items.close()


class Budget:
    """An amount that threads share. `spend` blocks while too little is left, however much one thread needs."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._changed = threading.Condition()

    @contextmanager
    def spend(self, amount: int) -> Iterator[None]:
        """Take an amount, or all if it is more than that, and give it back on exit."""
        amount = min(amount, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


@contextmanager
def run_behind(function: Callable[[In], None]) -> Iterator[Callable[[In], None]]:
    """Yield a function that runs in another thread while its caller goes on, one call at a time and in order.

    Each call waits for the previous one and raises its error. The end of the block waits for the last call.
    """
    pending: deque[Future[None]] = deque()

    def settle() -> None:
        while pending:
            pending.popleft().result()

    def call(item: In) -> None:
        settle()
        pending.append(pool.submit(function, item))

    with ThreadPoolExecutor(1, thread_name_prefix="bsbatch-behind") as pool:
        yield call
        settle()


class FreeList(Generic[In]):
    """A thread-safe pool of reusable objects; `take` blocks while it is empty."""

    def __init__(self, order: Callable[[In], int] | None = None) -> None:
        """Make an empty pool.

        Parameters
        ----------
        order
            Returns a number of its own for each object: the free object with the least number is taken first. Without
            it, that is the one that was given back last, because it may still be in a processor's cache.
        """
        self._order, self._recency = order, count(0, -1)
        self._free: dict[int, In] = {}
        self._numbers: list[int] = []
        """Heap of the keys of the free objects."""
        self._tickets: SimpleQueue[None] = SimpleQueue()
        """One for each free object, and one that says that the pool is closed."""
        self._is_closed = False

    def take(self) -> In:
        """Take a free object; wait for one if there is none.

        Raises
        ------
        concurrent.futures.CancelledError
            The pool was closed: no object will be given back any more.
        """
        self._tickets.get()
        if self._is_closed:
            self._tickets.put(None)
            raise CancelledError("the pool was closed because its work has ended")
        return self._free.pop(heappop(self._numbers))

    def give_back(self, item: In) -> None:
        """Return an object to the pool."""
        number = next(self._recency) if self._order is None else self._order(item)
        self._free[number] = item
        heappush(self._numbers, number)
        self._tickets.put(None)

    def close(self) -> None:
        """Raise `CancelledError` in all waiting and all later calls of `take`."""
        self._is_closed = True
        self._tickets.put(None)


def run_in_background(function: Callable[[], Out]) -> "Pending[Out]":
    """Call a function in a thread that does not keep the program alive."""
    future: Future[Out] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name="bsbatch-background", daemon=True).start()
    return future
