import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch import concurrency
from bsbatch.concurrency import (
    Conveyor,
    FreeList,
    conveyed,
    in_background,
    interruptible,
    one_behind,
    ordered_map,
    prefetch,
    processor,
    thread_identity,
    usable_cpus,
    usable_memory,
)

PATIENCE = 5.0


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether it came true."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


def idle() -> None:
    """Wait in small steps: a signal that the system gives to another thread does not end the sleep of this one."""
    wait_until(lambda: False)


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


class Counting:
    """Numbers, and how many of them were taken."""

    def __init__(self, length: int) -> None:
        self.length, self.taken = length, 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.length):
            self.taken += 1
            yield number


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 5), st.integers(1, 7))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int, chunk: int) -> None:
    assert list(ordered_map(lambda item: item + 1, items, workers, chunk)) == [item + 1 for item in items]


def test_a_slow_item_is_waited_for() -> None:
    def work(number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert list(ordered_map(work, range(12), 3)) == list(range(12))


@pytest.mark.parametrize("workers", [2, 3])
def test_at_most_four_items_for_each_worker_are_in_flight(workers: int) -> None:
    items = Counting(100)

    beyond = [items.taken - given_back for given_back in ordered_map(lambda item: item, items, workers)]

    assert max(beyond) == 4 * workers


def test_as_many_items_run_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)

    def meet(number: int) -> int:
        together.wait()
        return number

    assert list(ordered_map(meet, range(9), 3)) == list(range(9))


def test_the_first_failure_in_the_order_of_the_items_is_raised() -> None:
    def work(number: int) -> int:
        if number == 2:
            time.sleep(0.05)
            raise ValueError("second")
        if number == 4:
            raise KeyError("fourth")
        return number

    results = ordered_map(work, range(20), 3)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="second"):
        next(results)
    assert threads_named("bsbatch_") == []


def test_an_error_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(ordered_map(str, items(), 2))


def test_one_worker_runs_inline_and_one_item_at_a_time() -> None:
    items = Counting(5)
    where: list[threading.Thread] = []

    results = ordered_map(lambda _: where.append(threading.current_thread()), items, 1)
    next(results)

    assert where == [threading.current_thread()]
    assert items.taken == 1


def test_leaving_early_leaves_no_worker_behind() -> None:
    done: list[int] = []
    results = ordered_map(done.append, range(1000), 2)

    next(results)
    results.close()  # a generator

    assert len(done) < 20
    assert threads_named("bsbatch_") == []


UNCLOSED = """
import time
from bsbatch.concurrency import ordered_map
def work(number):
    time.sleep(0.1)
    print(number, flush=True)
held = ordered_map(work, range(1000), 2)
next(held)
raise OSError("gone")
"""


def test_a_program_that_ends_in_the_middle_waits_for_what_was_begun_and_no_longer() -> None:
    done = subprocess.run([sys.executable, "-c", UNCLOSED], capture_output=True, text=True, timeout=30, check=False)

    assert done.stderr.endswith("OSError: gone\n")
    assert done.returncode == 1
    assert 2 <= len(done.stdout.split()) <= 4


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 4))
def test_prefetched_items_come_in_their_order(items: list[int], depth: int) -> None:
    assert list(prefetch(items, depth)) == items


def test_prefetched_items_are_made_in_another_thread() -> None:
    def items() -> Iterator[threading.Thread]:
        yield threading.current_thread()

    (producer,) = prefetch(items(), 1)

    assert producer is not threading.current_thread()
    assert not producer.is_alive()


@pytest.mark.parametrize("depth", [1, 3])
def test_nothing_is_made_more_than_the_depth_ahead(depth: int) -> None:
    items, ahead = Counting(50), []

    with closing(prefetch(items, depth)) as stream:
        for given_back, _ in enumerate(islice(stream, 3), start=1):
            time.sleep(0.05)
            ahead.append(items.taken - given_back)

    assert max(ahead) <= depth


def test_an_error_is_raised_where_it_would_have_been() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    stream = prefetch(items(), 8)

    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(stream)
    assert threads_named("bsbatch-ahead") == []


@pytest.mark.parametrize("taken", [1, 2, 5])
def test_closing_early_stops_the_producer(taken: int) -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    stream = prefetch(endless(), 2)
    for _ in range(taken):
        next(stream)

    stream.close()

    assert threads_named("bsbatch-ahead") == []


def test_an_error_of_the_consumer_stops_the_producer() -> None:
    def consume() -> None:
        for number in prefetch(iter(range(1000)), 2):
            if number == 3:
                raise KeyError(number)

    with pytest.raises(KeyError):
        consume()
    assert wait_until(lambda: threads_named("bsbatch-ahead") == [])


def test_a_generator_that_is_left_early_is_closed_in_the_thread_that_ran_it() -> None:
    closed: list[threading.Thread] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread())

    stream = prefetch(endless(), 2)
    next(stream)
    (producer,) = threads_named("bsbatch-ahead")
    stream.close()

    assert closed == [producer]


def test_a_stream_nobody_began_starts_no_thread() -> None:
    stream = prefetch(iter(range(3)), 2)

    assert threads_named("bsbatch-ahead") == []
    stream.close()


def test_a_call_that_is_one_behind_leaves_its_caller_free() -> None:
    is_free, done = threading.Event(), []

    def work(number: int) -> None:
        assert is_free.wait(PATIENCE)
        done.append(number)

    with one_behind(work) as call:
        call(1)
        assert done == []
        is_free.set()
        call(2)
        assert done[:1] == [1]

    assert done == [1, 2]
    assert threads_named("bsbatch-behind") == []


def test_calls_that_are_one_behind_never_overlap() -> None:
    busy, order = threading.Lock(), []

    def work(number: int) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        order.append(number)
        busy.release()

    with one_behind(work) as call:
        for number in range(20):
            call(number)

    assert order == list(range(20))


def test_the_error_of_a_call_is_raised_by_the_next_one() -> None:
    def work(number: int) -> None:
        if number == 1:
            raise ValueError(number)

    begun: list[int] = []
    with pytest.raises(ValueError, match="1"), one_behind(work) as call:  # noqa: PT012 - which call raises is the point
        for number in range(5):
            call(number)
            begun.append(number)

    assert begun == [0, 1]


def test_the_error_of_the_last_call_is_raised_at_the_end() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match="7"), one_behind(work) as call:
        call(7)


def test_the_error_of_the_block_comes_before_that_of_the_call() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    def fail() -> None:
        with one_behind(work) as call:
            call(7)
            raise KeyError("block")

    with pytest.raises(KeyError):
        fail()
    assert threads_named("bsbatch-behind") == []


def test_processors_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)

    assert 1 <= usable_cpus() <= len(before)


def test_some_memory_is_usable() -> None:
    assert 0 < usable_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_that_files_occupy_is_usable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  4096 kB\nMemFree:  1 kB\nMemAvailable:  2048 kB\n")
    monkeypatch.setattr(concurrency, "_MEMINFO", tmp_path / "meminfo")
    assert usable_memory() == 2048 * 1024


X86 = "processor\t: {n}\nvendor_id\t: Maker\nmodel name\t: Chip\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\n\n"


@pytest.mark.parametrize(
    ("mhz", "flags", "is_same"),
    [("1000", "avx avx2", True), ("2000", "avx avx2", True), ("1000", "avx avx512f", False)],
)
def test_a_processor_is_told_by_what_it_can_do(
    mhz: str, flags: str, is_same: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(concurrency, "_CPUINFO", tmp_path / "cpuinfo")
    told = []
    for values in ({"mhz": "1000", "flags": "avx avx2"}, {"mhz": mhz, "flags": flags}):
        (tmp_path / "cpuinfo").write_text("".join(X86.format(n=n, **values) for n in range(2)))
        told.append(processor())

    assert "Maker Chip" in told[0]
    assert (told[0] == told[1]) is is_same


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number: int) -> None:
    announced: list[str] = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with interruptible(lambda: announced.append("stopping")) as interruption:
        assert not interruption.is_asked
        os.kill(os.getpid(), number)
        assert wait_until(lambda: interruption.is_asked)
        assert announced == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            signal_and_wait(number)

    assert announced == ["stopping"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def signal_and_wait(number: int) -> None:
    os.kill(os.getpid(), number)
    idle()


def test_handlers_are_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(ValueError, match="inside"), interruptible(lambda: None):
        raise ValueError("inside")

    assert signal.getsignal(signal.SIGINT) is before


def test_two_signals_during_one_long_call_are_two() -> None:
    sender = subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -INT {os.getpid()}; sleep 0.1; kill -INT {os.getpid()}"])

    with interruptible(lambda: None), pytest.raises(KeyboardInterrupt):
        work_and_wait()

    assert sender.wait(PATIENCE) == 0


def work_and_wait() -> None:
    sum(range(30_000_000))  # half a second during which Python handles no signal
    idle()


TWO_KINDS_AT_ONCE = """
import os, signal, time
from bsbatch.concurrency import interruptible

both, errors = [signal.SIGINT, signal.SIGTERM], set()
for _ in range(20):
    try:
        with interruptible(lambda: None):
            signal.pthread_sigmask(signal.SIG_BLOCK, both)
            for number in both:
                os.kill(os.getpid(), number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
            for _ in range(500):
                time.sleep(0.01)
    except BaseException as error:
        errors.add(type(error).__name__)
print(*errors)
"""


def test_a_signal_that_arrives_while_the_handlers_go_is_no_error_of_its_own() -> None:
    told = subprocess.run([sys.executable, "-c", TWO_KINDS_AT_ONCE], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["KeyboardInterrupt"]


def test_another_signal_does_not_ask() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with interruptible(lambda: None) as interruption:
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(lambda: bool(heard))
            time.sleep(0.05)

            assert not interruption.is_asked
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("is_main_thread", [True, False])
def test_nothing_stays_open_behind_it(is_main_thread: bool) -> None:
    def run() -> None:
        with interruptible(lambda: None):
            pass

    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        if is_main_thread:
            run()
        else:
            in_background(run).result(PATIENCE)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threads_named("bsbatch-signals") == []


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    inside: list[object] = []

    def run() -> None:
        with interruptible(lambda: None):
            inside.append(signal.getsignal(signal.SIGINT))

    in_background(run).result(PATIENCE)

    assert inside == [before]


def test_a_result_of_the_background_arrives() -> None:
    assert in_background(lambda: 7).result(PATIENCE) == 7


def test_an_error_of_the_background_arrives() -> None:
    def fail() -> None:
        raise ValueError("behind")

    with pytest.raises(ValueError, match="behind"):
        in_background(fail).result(PATIENCE)


class Doubling:
    """A station that remembers what was begun and not finished, and which thread did what."""

    depth = 2

    def __init__(self, fails_at: int = -1, fails_leaving: bool = False) -> None:
        self.begun: list[int] = []
        self.most = 0
        self.threads = {thread_identity()}
        self.is_left = False
        self._fails_at, self._fails_leaving = fails_at, fails_leaving

    def __enter__(self) -> "Doubling":
        self.threads.add(thread_identity())
        return self

    def __exit__(self, *_: object) -> None:
        self.threads.add(thread_identity())
        self.is_left = True
        if self._fails_leaving:
            raise OSError("it cannot be left")

    def begin(self, item: int) -> None:
        self.begun.append(item)
        self.most = max(self.most, len(self.begun))

    def finish(self) -> int:
        self.threads.add(thread_identity())
        item = self.begun.pop(0)
        if item == self._fails_at:
            raise ValueError(f"no double of {item}")
        return 2 * item


def test_a_conveyor_begins_ahead_finishes_in_order_and_owns_its_station_alone() -> None:
    stations: list[Doubling] = []

    def make() -> Doubling:
        stations.append(Doubling())
        return stations[0]

    with Conveyor(make, "test") as conveyor:
        assert list(conveyed([conveyor], range(100), ahead=4)) == [2 * number for number in range(100)]
    (station,) = stations
    assert station.is_left
    assert station.most == 2
    assert station.threads.isdisjoint({thread_identity()})
    assert len(station.threads) == 1


def test_a_conveyor_does_at_its_end_what_was_put_before() -> None:
    with Conveyor(Doubling, "test") as conveyor:
        answers = [conveyor.put(number) for number in range(10)]
    assert [answer.result(timeout=0) for answer in answers] == [2 * number for number in range(10)]


def test_an_error_answers_all_that_waits_on_a_conveyor_and_all_that_comes() -> None:
    with Conveyor(lambda: Doubling(fails_at=3), "test") as conveyor:
        answers = [conveyor.put(number) for number in range(8)]
        assert [answer.result(PATIENCE) for answer in answers[:3]] == [0, 2, 4]
        for answer in (*answers[3:], conveyor.put(9)):
            with pytest.raises(ValueError, match="no double of 3"):
                answer.result(PATIENCE)


def test_the_first_failure_of_several_conveyors_is_raised_where_its_result_would_have_been() -> None:
    with Conveyor(lambda: Doubling(6), "test") as one, Conveyor(lambda: Doubling(6), "test") as other:
        found: list[int] = []
        with pytest.raises(ValueError, match="no double of 6"):
            found.extend(conveyed([one, other], range(40), ahead=2))
    assert found == [0, 2, 4, 6, 8, 10]


def test_an_error_of_entering_or_leaving_a_station_is_raised_by_its_conveyor() -> None:
    def fail() -> Doubling:
        raise OSError("it cannot be made")

    with pytest.raises(OSError, match="cannot be made"), Conveyor(fail, "test"):
        pass
    with pytest.raises(OSError, match="cannot be left"), Conveyor(lambda: Doubling(fails_leaving=True), "test"):
        pass


def test_what_is_given_back_last_is_taken_first() -> None:
    free: FreeList[str] = FreeList()
    free.give_back("cold")
    free.give_back("warm")
    assert (free.take(), free.take()) == ("warm", "cold")
    waiting = in_background(free.take)
    free.give_back("late")
    assert waiting.result(PATIENCE) == "late"
