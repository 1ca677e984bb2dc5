"""Threads: ordered maps, prefetching, background calls, pools of reusable objects."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, islice
from queue import LifoQueue, SimpleQueue
from typing import Generic, TypeVar

_WORTH_A_THREAD = 1e-4
"""Seconds that an item waits from which on threads help; what comes from memory waits a tenth of that."""
_FIRST_TURN, _LONGEST_TURN = 16, 4096
"""Chunks that threads take before waiting is measured again."""
In = TypeVar("In")
Out = TypeVar("Out")
Pending = Future
"""Something that is being worked out in another thread."""


def thread_identity() -> int:
    """A number that no other thread has while this one lives."""
    return threading.get_ident()


def ordered_map(
    function: Callable[[In], Out], items: Iterable[In], workers: int, chunk: int = 1, ahead: int = 4
) -> Generator[Out, None, None]:
    """Apply a function in threads and yield the results in the order of the items; the first failure is raised.

    Parameters
    ----------
    function, items
        What is done, to what.
    workers
        Threads; one worker runs inline, without a thread.
    chunk
        Items that a thread takes at once: handing over costs more than a very quick function.
    ahead
        Chunks in flight at most, for each worker.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pending: deque[Future[list[Out]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="bsbatch") as pool:
        try:
            for taken in _chunks(items, chunk):
                pending.append(pool.submit(_each, function, taken))
                if len(pending) >= ahead * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def adaptive_map(
    function: Callable[[In], Out], items: Iterable[In], workers: int, chunk: int
) -> Generator[Out, None, None]:
    """`ordered_map` of a function that may be too quick for threads: they take over only where it keeps one waiting.

    Whoever comes back from a system call has to wait for the interpreter where others want it, which takes longer than
    a call that has its file in memory: two threads are half as fast there as none, and twice as fast where a disk lets
    each of them wait. So a chunk is worked off here and its waiting measured; after one that waited, threads take the
    next ones, twice as many each time, until a chunk here does not wait any more.

    Parameters
    ----------
    function, items, workers, chunk
        See `ordered_map`.
    """
    chunks, patience = _chunks(items, chunk), _FIRST_TURN
    for taken in chunks:
        began, busy = time.perf_counter(), time.thread_time()
        results = _each(function, taken)
        waited = time.perf_counter() - began - (time.thread_time() - busy)
        yield from results
        if workers == 1 or waited < _WORTH_A_THREAD * len(taken):
            patience = _FIRST_TURN
            continue
        with closing(ordered_map(partial(_each, function), islice(chunks, patience), workers)) as threaded:
            yield from chain.from_iterable(threaded)
        patience = min(2 * patience, _LONGEST_TURN)


def _chunks(items: Iterable[In], size: int) -> Iterator[list[In]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _each(function: Callable[[In], Out], items: list[In]) -> list[Out]:
    return [function(item) for item in items]


def prefetch(items: Iterable[In], depth: int) -> Generator[In, None, None]:
    """Iterate in another thread, at most ``depth`` items ahead; its error is raised where it would have been.

    A generator is closed in that thread, too.
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
    """The thread of `prefetch`: None stands for the end."""
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


@contextmanager
def run_behind(function: Callable[[In], None]) -> Iterator[Callable[[In], None]]:
    """Give a function that works in another thread while its caller goes on, one call at a time and in order.

    Each call waits for the one before and raises its error; the end of the block waits for the last one.
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
    """Things that are taken, used and given back, by any thread; who finds none waits.

    What was given back last is taken first: it may still be in a processor's cache.
    """

    def __init__(self) -> None:
        self._free: LifoQueue[tuple[In] | None] = LifoQueue()

    def take(self) -> In:
        """Wait for one that is free.

        Raises
        ------
        concurrent.futures.CancelledError
            The list was closed: nothing will be given back any more.
        """
        entry = self._free.get()
        if entry is None:
            self._free.put(None)
            raise CancelledError("the work that this was taken for has ended")
        return entry[0]

    def give_back(self, item: In) -> None:
        """Make one free."""
        self._free.put((item,))

    def close(self) -> None:
        """Send away who waits and who comes."""
        self._free.put(None)


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
