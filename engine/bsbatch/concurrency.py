"""Threads, processors and signals: known here and nowhere else."""

import hashlib
import os
import platform
import select
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from queue import Empty, LifoQueue, SimpleQueue
from types import FrameType, TracebackType
from typing import Generic, Protocol, Self, TypeVar

_CGROUP = Path("/sys/fs/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_IDENTIFYING = frozenset(
    {"vendor_id", "cpu family", "model", "model name", "stepping", "flags"}
    | {"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"}
)
"""Lines of ``/proc/cpuinfo`` that stay the same: the first row on x86, the second on Arm."""
_WORTH_A_THREAD = 1e-4
"""Seconds that an item waits from which on threads help; what comes from memory waits a tenth of that."""
_FIRST_TURN, _LONGEST_TURN = 16, 4096
"""Chunks that threads take before waiting is measured again."""

In = TypeVar("In")
Out = TypeVar("Out")
Taken = TypeVar("Taken", contravariant=True)
Given = TypeVar("Given", covariant=True)

Pending = Future
"""Something that is being worked out in another thread."""


def thread_identity() -> int:
    """A number that no other thread has while this one lives."""
    return threading.get_ident()


def usable_cpus() -> int:
    """Processors that this process may use: its affinity, cut by the quota of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, allowed if quota is None else min(allowed, round(quota)))


def processor() -> str:
    """What the operating system says of the processor: maker, model and the digest of its instruction sets."""
    try:
        first = _CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return platform.machine()
    facts = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in facts.items() if name.strip() in _IDENTIFYING}
    flags = hashlib.sha256(" ".join(known.pop(name, "") for name in ("flags", "Features")).encode()).hexdigest()[:8]
    return " ".join([platform.machine(), *known.values(), flags])


def usable_memory() -> int:
    """Bytes that this process may still take: what the system can give, cut by the limit of its control group."""
    free = _available_memory()
    limits = [_number_in(_CGROUP / "memory.max"), _number_in(_CGROUP / "memory/memory.limit_in_bytes")]
    return min([free, *(limit for limit in limits if limit is not None)])


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


def quick_map(
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
def one_behind(function: Callable[[In], None]) -> Iterator[Callable[[In], None]]:
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


class Station(Protocol[Taken, Given]):
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


class Conveyor(Generic[In, Out]):
    """A thread that owns a station: it alone makes, enters, uses and leaves it.

    An error ends it, and is the answer to all that waits and all that comes.
    """

    def __init__(self, make: Callable[[], Station[In, Out]], name: str) -> None:
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

    def _serve(self, station: Station[In, Out]) -> None:
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


def conveyed(conveyors: Sequence[Conveyor[In, Out]], items: Iterable[In], ahead: int) -> Generator[Out, None, None]:
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


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """How often somebody asked the run to stop.

    Signals that arrive during one long call into C reach Python as one, so they are counted through the wake-up
    descriptor, into which the interpreter writes the number of each.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._announce = announce
        self._lock = threading.RLock()
        self._count = 0
        self._read_end = -1

    @property
    def is_asked(self) -> bool:
        """True from the first signal on."""
        return self._count > 0

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal in the main thread; the second one stops it."""
        self._take()
        if self._count > 1:
            raise KeyboardInterrupt

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Announce the first signal at once, whatever the main thread is busy with."""
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(write_end, False)
        previous = signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        watcher = threading.Thread(target=self._watch, name="bsbatch-signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            os.close(write_end)
            watcher.join()
            os.close(self._read_end)

    def _watch(self) -> None:
        is_open = True
        while is_open:
            select.select([self._read_end], [], [])
            is_open = self._take()

    def _take(self) -> bool:
        """Count the signals that wait in the pipe; False at its end."""
        with self._lock:
            try:
                numbers = os.read(self._read_end, 64)
            except BlockingIOError:
                return True
            asked = sum(number in _STOP_SIGNALS for number in numbers)
            if asked and not self._count:
                self._announce()
            self._count += asked
            return bool(numbers)


@contextmanager
def interruptible(announce: Callable[[], None]) -> Iterator[Interruption]:
    """Turn the first SIGINT or SIGTERM into a polite request; the second one raises `KeyboardInterrupt`.

    Parameters
    ----------
    announce
        Called at the first signal, to tell the user what happens now; in any thread.
    """
    interruption = Interruption(announce)
    if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
        yield interruption
        return
    with interruption.watched(), _handled_by(interruption.handle):
        yield interruption


@contextmanager
def _handled_by(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    previous = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def in_background(function: Callable[[], Out]) -> "Pending[Out]":
    """Call a function in a thread that does not keep the program alive."""
    future: Future[Out] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, name="bsbatch-background", daemon=True).start()
    return future


def _cpu_quota() -> float | None:
    """Processors that the control group grants, v2 then v1; None where there is no limit."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    limit, length = _number_in(_CGROUP / "cpu/cpu.cfs_quota_us"), _number_in(_CGROUP / "cpu/cpu.cfs_period_us")
    return limit / length if limit is not None and length and limit > 0 else None


def _available_memory() -> int:
    """Bytes that are free or that the system can free at once, such as files it keeps in memory."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="utf-8").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):  # no Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None
