import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing
from itertools import islice
from math import ceil
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.waiting import PATIENCE, threads_named, wait_until

from bsbatch.host import threads
from bsbatch.host.threads import (
    Budget,
    FreeList,
    Out,
    adaptive_map,
    ordered_map,
    prefetch,
    run_behind,
    run_in_background,
)


class Counting:
    """An iterable that counts the numbers taken from it."""

    def __init__(self, length: int) -> None:
        self.length, self.taken = length, 0

    def __iter__(self) -> Iterator[int]:
        for number in range(self.length):
            self.taken += 1
            yield number


def each(function: Callable[[int], Out]) -> Callable[[list[int]], list[Out]]:
    """Make a function of one item one of a chunk."""
    return lambda chunk: [function(item) for item in chunk]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 5), st.integers(1, 7))
def test_results_come_in_the_order_of_the_items(items: list[int], workers: int, chunk: int) -> None:
    assert list(ordered_map(lambda item: item + 1, items, workers, chunk)) == [item + 1 for item in items]


def test_results_wait_for_a_slow_item() -> None:
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


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=60), st.integers(1, 3), st.integers(1, 3), st.sampled_from([-1.0, 1.0]))
def test_results_come_in_order_with_and_without_threads(
    items: list[int], workers: int, chunk: int, worth_a_thread: float
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threads, "_WORTH_A_THREAD", worth_a_thread)
        patched.setattr(threads, "_FIRST_TURN", 2)
        assert list(adaptive_map(each(lambda item: item + 1), items, workers, chunk)) == [item + 1 for item in items]


def test_calls_that_do_not_wait_stay_in_the_calling_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    # a clock on which nothing waits: on a busy machine, every call waits for a processor now and then
    monkeypatch.setattr(threads, "time", SimpleNamespace(perf_counter=lambda: 0.0, thread_time=lambda: 0.0))

    used = set(adaptive_map(each(here), range(5000), 2, 50))

    assert used == {threading.current_thread()}


@pytest.mark.parametrize("workers", [2, 3])
def test_threads_take_over_while_calls_wait(workers: int) -> None:
    slow = threading.Event()
    slow.set()

    def work(number: int) -> threading.Thread:
        if slow.is_set():
            time.sleep(0.03)
        return threading.current_thread()

    results = adaptive_map(each(work), iter(range(10_000)), workers, 2)
    here = threading.current_thread()
    first = [next(results) for _ in range(20)]
    slow.clear()
    later = list(results)

    assert [thread is here for thread in first] == [True] * 2 + [False] * 18
    assert len(set(first[2:])) == workers
    assert later[-1] is here
    assert threads_named("bsbatch_") == []


def test_without_other_workers_the_calling_thread_waits_itself() -> None:
    def work(_: int) -> threading.Thread:
        time.sleep(0.001)
        return threading.current_thread()

    assert set(adaptive_map(each(work), range(20), 1, 2)) == {threading.current_thread()}


def test_a_call_of_a_tenth_of_a_millisecond_of_waiting_is_worth_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for waiting, turns in ((0.9e-4, 12), (1.1e-4, 1)):
        clock = iter(float(tick) for tick in range(1000))
        monkeypatch.setattr(
            threads,
            "time",
            SimpleNamespace(perf_counter=lambda w=waiting, c=clock: next(c) * 5 * w, thread_time=lambda: 0.0),
        )
        monkeypatch.setattr(threads, "_SURE", 0.0)
        used = [thread is threading.current_thread() for thread in adaptive_map(each(here), range(60), 2, 5)]
        assert sum(used[::5]) == turns


@pytest.mark.parametrize("seconds", [0.011, 0.3])
def test_threads_begin_after_a_twentieth_of_a_second_of_waiting_in_a_row(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = ceil(0.05 / seconds)
    waits = ([1] * (needed - 1) + [0]) * 3 + [1] * needed + [0]
    ticks = (number for wait in waits for number in (0.0, wait * seconds))
    clock = SimpleNamespace(perf_counter=lambda: next(ticks, 0.0), thread_time=lambda: 0.0)
    monkeypatch.setattr(threads, "time", clock)

    used = [thread is threading.current_thread() for thread in adaptive_map(each(here), range(2000), 2, 2)][::2]

    alone = 4 * needed
    assert used == [True] * alone + [False] * 16 + [True] * (1000 - alone - 16)


def here(_: int) -> threading.Thread:
    return threading.current_thread()


def test_turns_of_threads_double_up_to_the_longest_and_begin_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_LONGEST_TURN", 40)
    lengths, waits = [], iter([1, 1, 1, 0, 1])

    def chunks_taken(_function: object, items: Iterator[list[int]], _workers: int) -> Iterator[list[int]]:
        taken = list(items)
        lengths.append(len(taken))
        yield from taken

    ticks = (number for wait in waits for number in (0.0, float(wait)))
    monkeypatch.setattr(threads, "ordered_map", chunks_taken)
    monkeypatch.setattr(
        threads, "time", SimpleNamespace(perf_counter=lambda: next(ticks, 0.0), thread_time=lambda: 0.0)
    )

    assert list(adaptive_map(list, range(400), 2, 2)) == list(range(400))
    assert lengths == [16, 32, 40, 16]


@pytest.mark.parametrize(
    ("busy", "waited", "workers"), [(2.0, 1.0, 3), (1.0, 5.0, 5), (1.0, 5.9, 5), (1.0, 99.0, 8), (0.0, 9.0, 8)]
)
def test_as_many_threads_as_take_turns_while_one_waits(
    busy: float, waited: float, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def note(_function: object, items: Iterator[list[int]], workers: int) -> Iterator[list[int]]:
        used.append(workers)
        yield from items

    wall, cpu = iter([0.0, busy + waited]), iter([0.0, busy])
    clock = SimpleNamespace(perf_counter=lambda: next(wall), thread_time=lambda: next(cpu))
    monkeypatch.setattr(threads, "ordered_map", note)
    monkeypatch.setattr(threads, "time", clock)

    assert list(adaptive_map(list, range(20), 3, 2, 8)) == list(range(20))
    assert used == [workers]


def test_leaving_an_adaptive_map_leaves_no_worker_behind() -> None:
    results = adaptive_map(each(lambda _: time.sleep(0.003)), range(1000), 2, 2)

    for _ in range(10):
        next(results)
    results.close()

    assert threads_named("bsbatch_") == []


def test_leaving_early_leaves_no_worker_behind() -> None:
    done: list[int] = []
    results = ordered_map(done.append, range(1000), 2)

    next(results)
    results.close()  # a generator

    assert len(done) < 20
    assert threads_named("bsbatch_") == []


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 4))
def test_prefetched_items_come_in_their_order(items: list[int], depth: int) -> None:
    assert list(prefetch(items, depth)) == items


def test_prefetched_items_come_from_another_thread() -> None:
    def items() -> Iterator[threading.Thread]:
        yield threading.current_thread()

    (producer,) = prefetch(items(), 1)

    assert producer is not threading.current_thread()
    assert not producer.is_alive()


@pytest.mark.parametrize("depth", [1, 3])
def test_at_most_depth_items_are_read_ahead(depth: int) -> None:
    items, ahead = Counting(50), []

    with closing(prefetch(items, depth)) as stream:
        for given_back, _ in enumerate(islice(stream, 3), start=1):
            time.sleep(0.05)
            ahead.append(items.taken - given_back)

    assert max(ahead) <= depth


def test_an_error_is_raised_after_the_items_before_it() -> None:
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


def test_an_unused_stream_starts_no_thread() -> None:
    stream = prefetch(iter(range(3)), 2)

    assert threads_named("bsbatch-ahead") == []
    stream.close()


def test_a_call_that_runs_behind_leaves_its_caller_free() -> None:
    is_free, done = threading.Event(), []

    def work(number: int) -> None:
        assert is_free.wait(PATIENCE)
        done.append(number)

    with run_behind(work) as call:
        call(1)
        assert done == []
        is_free.set()
        call(2)
        assert done[:1] == [1]

    assert done == [1, 2]
    assert threads_named("bsbatch-behind") == []


def test_calls_that_run_behind_never_overlap() -> None:
    busy, order = threading.Lock(), []

    def work(number: int) -> None:
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        order.append(number)
        busy.release()

    with run_behind(work) as call:
        for number in range(20):
            call(number)

    assert order == list(range(20))


def test_the_error_of_a_call_is_raised_by_the_next_one() -> None:
    def work(number: int) -> None:
        if number == 1:
            raise ValueError(number)

    begun: list[int] = []
    with pytest.raises(ValueError, match="1"), run_behind(work) as call:  # noqa: PT012 - which call raises is the point
        for number in range(5):
            call(number)
            begun.append(number)

    assert begun == [0, 1]


def test_the_error_of_the_last_call_is_raised_at_the_end() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match="7"), run_behind(work) as call:
        call(7)


def test_the_error_of_the_block_comes_before_that_of_the_call() -> None:
    def work(number: int) -> None:
        raise ValueError(number)

    def fail() -> None:
        with run_behind(work) as call:
            call(7)
            raise KeyError("block")

    with pytest.raises(KeyError):
        fail()
    assert threads_named("bsbatch-behind") == []


def test_a_background_call_returns_its_result() -> None:
    assert run_in_background(lambda: 7).result(PATIENCE) == 7


def test_a_background_call_does_not_keep_the_program_alive() -> None:
    assert run_in_background(lambda: threading.current_thread().daemon).result(PATIENCE)


def test_a_background_call_raises_its_error() -> None:
    def fail() -> None:
        raise ValueError("behind")

    with pytest.raises(ValueError, match="behind"):
        run_in_background(fail).result(PATIENCE)


def test_the_object_given_back_last_is_taken_first() -> None:
    free: FreeList[str] = FreeList()
    free.give_back("cold")
    free.give_back("warm")
    assert (free.take(), free.take()) == ("warm", "cold")
    waiting = run_in_background(free.take)
    free.give_back("late")
    assert waiting.result(PATIENCE) == "late"


def test_a_pool_with_an_order_gives_its_first_free_object() -> None:
    free = FreeList[str](len)
    for item in ("three", "a", "two2"):
        free.give_back(item)
    assert (free.take(), free.take()) == ("a", "two2")
    free.give_back("b")
    assert (free.take(), free.take()) == ("b", "three")


def test_threads_that_spend_a_budget_wait_for_one_another() -> None:
    budget, spent, most = Budget(10), 0, 0
    lock = threading.Lock()

    def work(amount: int) -> None:
        nonlocal spent, most
        for _ in range(20):
            with budget.spend(amount):
                with lock:
                    spent += min(amount, 10)
                    most = max(most, spent)
                time.sleep(1e-4)
                with lock:
                    spent -= min(amount, 10)

    workers = [threading.Thread(target=work, args=(amount,)) for amount in (3, 4, 6, 50)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
        assert not worker.is_alive()
    assert 0 < most <= 10


def test_what_is_given_back_of_a_budget_wakes_all_that_wait() -> None:
    budget, entered, leave = Budget(3), threading.Semaphore(0), threading.Event()

    def work() -> None:
        with budget.spend(1):
            entered.release()
            assert leave.wait(PATIENCE)

    workers = [threading.Thread(target=work) for _ in range(3)]
    with budget.spend(3):
        for worker in workers:
            worker.start()
        time.sleep(0.05)
        assert not entered.acquire(blocking=False)
    assert all(entered.acquire(timeout=PATIENCE) for _ in workers)
    leave.set()
    for worker in workers:
        worker.join()


def test_a_map_in_threads_submits_chunks_of_the_given_size() -> None:
    items = Counting(100)
    results = ordered_map(lambda item: item, items, 2, chunk=3, ahead=1)
    next(results)
    assert items.taken == 6
    results.close()


def test_a_budget_is_given_back_after_an_error() -> None:
    budget = Budget(1)
    with pytest.raises(ZeroDivisionError), budget.spend(1):
        raise ZeroDivisionError
    with budget.spend(1):
        pass


def test_a_closed_pool_ends_the_waiting_and_all_later_calls() -> None:
    free: FreeList[str] = FreeList()
    waiting = [run_in_background(free.take) for _ in range(2)]
    free.close()
    for pending in (*waiting, run_in_background(free.take)):
        with pytest.raises(CancelledError, match="closed"):
            pending.result(PATIENCE)
