import ctypes
import gc
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Pipe
from pathlib import Path

import numpy as np
import pytest

from bsbatch.errors import ItemError, WorkerLostError, WorkerTimeoutError
from bsbatch.host import limits, workers
from bsbatch.host.files import open_plain
from bsbatch.host.machine import output_of
from bsbatch.host.origin import place_of
from bsbatch.host.workers import Isolation, SharedMemory, WorkerPool


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers import this module, as pytest does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


@pytest.fixture
def isolation() -> Iterator[Isolation]:
    with Isolation(seconds=60.0) as isolated:
        yield isolated


KEPT: list[bytearray] = []


def keep(count: int) -> int:
    """Allocate bytes that are not freed, as a leak does; return the process."""
    KEPT.append(bytearray(b"a") * count)
    return os.getpid()


def test_a_call_returns_the_result_of_the_function_in_another_process(isolation: Isolation) -> None:
    assert isolation.call(divmod, 7, 3) == (2, 1)
    assert isolation.call(os.getpid) != os.getpid()
    assert isolation.call(np.ones, (2, 3)).shape == (2, 3)


def test_a_worker_serves_one_call_after_the_other(isolation: Isolation) -> None:
    assert isolation.call(os.getpid) == isolation.call(os.getpid)


def test_an_error_is_raised_here_unchanged(isolation: Isolation) -> None:
    with pytest.raises(ZeroDivisionError):
        isolation.call(divmod, 1, 0)
    assert isolation.call(divmod, 7, 3) == (2, 1)


def test_our_own_errors_survive_pickling() -> None:
    error = ItemError("decode_failed", "words")
    copy = type(error)(*error.args)
    assert (copy.reason, str(copy)) == ("decode_failed", "words")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_worker_that_dies_costs_one_call(isolation: Isolation, number: signal.Signals) -> None:
    with pytest.raises(WorkerLostError, match="died"):
        isolation.call(signal.raise_signal, number)
    assert isolation.call(divmod, 7, 3) == (2, 1)


def drop_connection() -> None:
    """Close every file and go on, as a library may that was overwritten."""
    os.closerange(3, 100)
    time.sleep(600)


def test_a_worker_that_loses_its_connection_and_goes_on_is_lost(isolation: Isolation) -> None:
    with pytest.raises(WorkerLostError, match="died"):
        isolation.call(drop_connection)


def test_a_call_that_never_ends_is_given_up() -> None:
    with Isolation(seconds=1.0) as isolation, pytest.raises(WorkerLostError, match="no answer within 1 s"):
        isolation.call(time.sleep, 60)


def test_a_call_may_have_a_time_limit_of_its_own_that_the_start_does_not_count_against(isolation: Isolation) -> None:
    with pytest.raises(WorkerTimeoutError, match=r"no answer within 0\.01 s"):
        isolation.call_within(0.01, time.sleep, 60)
    assert isolation.call_within(5.0, divmod, 7, 3) == (2, 1)


def test_a_worker_that_keeps_memory_is_replaced(isolation: Isolation) -> None:
    first = isolation.call(os.getpid)
    assert isolation.call(keep, 0) == first
    assert isolation.call(keep, limits.WORKER_BYTES) == first
    assert isolation.call(os.getpid) != first


def test_calls_of_several_threads_do_not_disturb_one_another(isolation: Isolation) -> None:
    answers: dict[int, tuple[int, int]] = {}

    def work(number: int) -> None:
        for _ in range(20):
            answers[number] = isolation.call(divmod, number, 3)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == {number: divmod(number, 3) for number in range(4)}


def test_a_worker_whose_connection_is_closed_ends_by_itself_without_an_error() -> None:
    ours, theirs = Pipe()
    lifeline, end = os.pipe()
    command = [sys.executable, "-P", "-c", workers._PROGRAM, str(theirs.fileno()), str(lifeline)]
    with subprocess.Popen(command, pass_fds=[theirs.fileno(), lifeline], stderr=subprocess.PIPE) as worker:
        theirs.close()
        ours.send((workers._Task.CALL, divmod, (7, 3), {}))
        assert ours.recv() == (True, (2, 1))
        ours.close()
        assert (worker.wait(60), worker.stderr and worker.stderr.read()) == (0, b"")
    for descriptor in (lifeline, end):
        os.close(descriptor)


def test_an_error_in_a_worker_names_its_line(isolation: Isolation) -> None:
    with pytest.raises(OSError, match="not a plain file") as caught:
        isolation.call(open_plain, Path("/"))
    assert place_of(caught.value).startswith("host.files:")


def test_workers_leave_no_file_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Isolation() as isolation:
        isolation.call(divmod, 7, 3)
    with pool_of(2) as (pool, numbers):
        pool.map([(0,), (1,)])
    del numbers  # keeps the memory mapped
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_no_process_is_left_behind() -> None:
    with Isolation() as isolation:
        worker = isolation.call(os.getpid)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


class Adder:
    """Held by the workers of a pool: calls a function, if there is one, and adds up one row of the memory."""

    def __init__(self, descriptor: int) -> None:
        self._numbers = np.frombuffer(mmap.mmap(descriptor, 0), np.int64).reshape(-1, 4)

    def __call__(self, place: int, deed: Callable[..., object] | None = None, *arguments: object) -> tuple[int, int]:
        if deed is not None:
            deed(*arguments)
        return os.getpid(), int(self._numbers[place].sum())


@contextmanager
def pool_of(
    size: int, seconds: float = 60.0
) -> Iterator[tuple[WorkerPool[tuple[int, int]], np.ndarray[tuple[int, int], np.dtype[np.int64]]]]:
    """A pool of adders, and its memory as numbers that this process can write."""
    memory = SharedMemory(8 * 4 * 8)
    try:
        with WorkerPool[tuple[int, int]](size, seconds) as pool:
            pool.start(Adder, memory.descriptor, memory=memory)
            yield pool, np.frombuffer(memory.buffer, np.int64).reshape(-1, 4)
    finally:
        memory.close()


def test_a_pool_reads_the_shared_memory_and_answers_in_order() -> None:
    with pool_of(2) as (pool, numbers):
        for offset in (0, 1000):
            numbers[:] = np.arange(32).reshape(8, 4) + offset
            sums = [total for _, total in pool.map([(place,) for place in range(8)])]
            assert sums == numbers.sum(axis=1).tolist()


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_a_pool_takes_any_number_of_pieces(pieces: int) -> None:
    with pool_of(2) as (pool, _):
        assert len(pool.map([(0,)] * pieces)) == pieces


def test_a_free_worker_takes_the_next_piece() -> None:
    with pool_of(2) as (pool, _):
        workers = [worker for worker, _ in pool.map([(0, time.sleep, 3.0), *[(0,)] * 5])]
    assert workers.count(workers[0]) == 1
    assert workers.count(workers[1]) == 5


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_worker_that_crashes_is_reported_with_its_signal(number: signal.Signals) -> None:
    with pool_of(2) as (pool, _), pytest.raises(WorkerLostError, match=f"died: {signal.strsignal(number)}"):
        pool.map([(0,), (0, signal.raise_signal, number), (0,)])


def test_a_worker_that_is_killed_between_two_calls_is_reported() -> None:
    with pool_of(1) as (pool, _):
        worker, _ = pool.map([(0,)])[0]
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="died"):
            pool.map([(0,)])


def test_a_lost_worker_causes_no_warning_of_the_garbage_collector() -> None:
    """A warning would fail this test; Python 3.13 warned."""
    with pool_of(1) as (pool, _):
        worker, _ = pool.map([(0,)])[0]
        os.kill(worker, signal.SIGKILL)
        os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
        with pytest.raises(WorkerLostError) as caught:
            pool.map([(0,)])
    ring: list[object] = [caught.value]
    ring.append(ring)
    del caught, ring
    gc.collect()


def test_a_pool_leaves_no_process_behind() -> None:
    with pool_of(1) as (pool, _):
        worker, _ = pool.map([(0,)])[0]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_worker_that_hangs_in_c_is_given_up() -> None:
    with pool_of(1, seconds=10.0) as (pool, _), pytest.raises(WorkerLostError, match="no answer within 10 s"):
        pool.map([(0, hold_the_interpreter, 600)])


def test_an_error_in_a_worker_is_raised_here() -> None:
    with pool_of(2) as (pool, _), pytest.raises(ZeroDivisionError):
        pool.map([(0, divmod, 1, 0)])


def test_an_error_of_making_the_callable_is_raised_here() -> None:
    memory = SharedMemory(8)
    with WorkerPool[object](2, 60.0) as pool, pytest.raises(ZeroDivisionError):
        pool.start(divide, 1, 0, memory=memory)
    memory.close()


def divide(dividend: int, divisor: int) -> Callable[[], object]:
    return partial(int, dividend // divisor)


def hold_the_interpreter(seconds: int) -> None:
    """Sleep in C without releasing the interpreter, like a library that hangs."""
    ctypes.PyDLL(None).sleep(seconds)


PARENT = """
import signal, sys, time
from tests.host.test_workers import pool_of, hold_the_interpreter
with pool_of(2) as (pool, _):
    workers = [worker for worker, _ in pool.map([(0, time.sleep, 1.0), (0, time.sleep, 1.0)])]
    print(*workers, flush=True)
    {deed}
"""


@contextmanager
def parent_that(deed: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a process with a pool, in a process group of its own; yield it and the workers' process IDs."""
    command = [sys.executable, "-c", PARENT.format(deed=deed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process, [int(number) for number in line_of(process).split()]
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def wait_for_exit(number: int) -> None:
    """Wait until a process is gone, or a zombie that this process cannot reap."""
    stat, deadline = Path(f"/proc/{number}/stat"), time.monotonic() + 30
    while stat.exists() and stat.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, f"process {number} is still there"
        time.sleep(0.05)


@pytest.mark.parametrize("deed", ["time.sleep(600)", "pool.map([(0, hold_the_interpreter, 600)] * 2)"])
def test_a_parent_that_is_killed_leaves_no_orphan_even_in_the_middle_of_a_call_into_c(deed: str) -> None:
    with parent_that(deed) as (parent, workers):
        assert len(set(workers)) == 2
        time.sleep(1.0)
        parent.kill()
        for worker in workers:
            wait_for_exit(worker)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_no_worker_before_its_parent_does(number: signal.Signals) -> None:
    handle = f"came = []; signal.signal({int(number)}, lambda *_: came.append(True)); print(flush=True)"
    wait = "while not came: time.sleep(0.01)"
    work = "print(*[worker for worker, _ in pool.map([(0,)] * 4)], flush=True)"
    with parent_that("\n    ".join((handle, wait, work))) as (parent, workers):
        line_of(parent)
        os.killpg(parent.pid, number)
        assert {int(worker) for worker in line_of(parent).split()} <= set(workers)
        assert parent.wait() == 0


def test_the_output_of_a_system_program_is_none_if_it_fails_or_is_missing() -> None:
    assert output_of([sys.executable, "-c", "print(' 42 ')"]) == "42"
    assert output_of([sys.executable, "-c", "raise SystemExit(1)"]) is None
    assert output_of(["no-such-program-of-this-system"]) is None
