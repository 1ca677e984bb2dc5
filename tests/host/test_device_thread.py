import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, Self

import pytest
from tests.host.waiting import PATIENCE, threads_named, wait_until

from bsbatch.host.device_thread import DeviceThread, distribute, put_to_least
from bsbatch.host.threads import thread_identity


class Doubling:
    """A queue that records its items in flight and the threads that used it."""

    depth = 2

    def __init__(self, fails_at: int = -1, fails_leaving: bool = False) -> None:
        self.begun: list[int] = []
        self.most = 0
        self.threads = {thread_identity()}
        self.is_left = False
        self._fails_at, self._fails_leaving = fails_at, fails_leaving

    def __enter__(self) -> Self:
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


def test_a_device_thread_begins_ahead_finishes_in_order_and_alone_uses_its_queue() -> None:
    queues: list[Doubling] = []

    def make() -> Doubling:
        queues.append(Doubling())
        return queues[0]

    with DeviceThread(make, "test") as thread:
        assert list(distribute([thread], range(100), ahead=4)) == [2 * number for number in range(100)]
    (queue,) = queues
    assert queue.is_left
    assert queue.most == 2
    assert queue.threads.isdisjoint({thread_identity()})
    assert len(queue.threads) == 1


def test_a_device_thread_finishes_all_queued_items_before_it_ends() -> None:
    with DeviceThread(Doubling, "test") as thread:
        results = [thread.put(number) for number in range(10)]
    assert [result.result(timeout=0) for result in results] == [2 * number for number in range(10)]


def test_an_error_fails_all_pending_and_all_later_items_of_a_device_thread() -> None:
    with DeviceThread(lambda: Doubling(fails_at=3), "test") as thread:
        results = [thread.put(number) for number in range(8)]
        assert [result.result(PATIENCE) for result in results[:3]] == [0, 2, 4]
        for result in (*results[3:], thread.put(9)):
            with pytest.raises(ValueError, match="no double of 3"):
                result.result(PATIENCE)


def test_the_first_failure_of_several_device_threads_is_raised_in_place_of_its_result() -> None:
    with DeviceThread(lambda: Doubling(6), "test") as one, DeviceThread(lambda: Doubling(6), "test") as other:
        found: list[int] = []
        with pytest.raises(ValueError, match="no double of 6"):
            found.extend(distribute([one, other], range(40), ahead=2))
    assert found == [0, 2, 4, 6, 8, 10]


def test_an_error_of_entering_or_leaving_a_queue_is_raised_by_its_device_thread() -> None:
    def fail() -> Doubling:
        raise OSError("it cannot be made")

    with pytest.raises(OSError, match="cannot be made"), DeviceThread(fail, "test"):
        pass
    with pytest.raises(OSError, match="cannot be left"), DeviceThread(lambda: Doubling(fails_leaving=True), "test"):
        pass


class Refusing(Doubling):
    def begin(self, item: int) -> None:
        raise OSError(f"no room for {item}")


def test_an_item_that_cannot_begin_fails_and_is_not_waited_for() -> None:
    with pytest.raises(OSError, match="no room for 1"), DeviceThread(Refusing, "test") as thread:
        thread.put(1).result(PATIENCE)


class Held(Doubling):
    """A queue that finishes nothing before it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = threading.Event()

    def finish(self) -> int:
        assert self.is_free.wait(PATIENCE)
        return super().finish()


def test_items_are_pending_until_they_have_finished() -> None:
    queue = Held()
    with DeviceThread(lambda: queue, "test") as thread:
        assert thread.pending == 0
        results = [thread.put(number) for number in range(5)]
        assert wait_until(lambda: len(queue.begun) == 2)
        assert thread.pending == 5
        queue.is_free.set()
        results[-1].result(PATIENCE)
        assert wait_until(lambda: thread.pending == 0)
    assert threads_named("bsbatch-test") == []


def test_an_item_goes_to_the_thread_with_the_fewest_pending_ones() -> None:
    held, quick = Held(), Doubling()
    with DeviceThread(lambda: held, "held") as slow, DeviceThread(lambda: quick, "quick") as fast:
        slow.put(1)
        for number in range(3):
            assert put_to_least([slow, fast], number).result(PATIENCE) == 2 * number
            assert wait_until(lambda: fast.pending == 0)
        held.is_free.set()


class Taking(SimpleQueue[Any]):
    """A queue whose reader stays between taking an item and going on."""

    def __init__(self) -> None:
        self.is_taken, self.may_go_on = threading.Event(), threading.Event()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        item = super().get(block, timeout)
        self.is_taken.set()
        assert self.may_go_on.wait(PATIENCE)
        return item


def test_an_item_that_the_thread_is_taking_is_pending() -> None:
    queue, thread = Taking(), DeviceThread(Doubling, "taking")
    thread._requests = queue
    with thread:
        result = thread.put(1)
        assert queue.is_taken.wait(PATIENCE)
        assert thread.pending == 1
        queue.may_go_on.set()
        assert result.result(PATIENCE) == 2
        assert thread.pending == 0


@pytest.mark.parametrize("ahead", [1, 3])
def test_items_are_read_only_as_far_ahead_as_allowed(ahead: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with DeviceThread(Doubling, "one") as one, DeviceThread(Doubling, "other") as other:
        results = distribute([one, other], items(), ahead)
        assert next(results) == 0
        assert len(taken) == 2 * ahead + 1
        assert list(results) == [2 * number for number in range(1, 20)]


def test_a_failure_is_raised_after_all_submitted_items_have_ended() -> None:
    queue = Held()

    def fail() -> Iterator[int]:
        yield from (1, 2)
        threading.Timer(0.1, queue.is_free.set).start()
        raise OSError("no third")

    with DeviceThread(lambda: queue, "test") as thread:
        with pytest.raises(OSError, match="no third"):
            list(distribute([thread], fail(), ahead=4))
        assert queue.is_free.is_set()
        assert thread.pending == 0


def test_an_error_of_the_block_comes_before_that_of_leaving_the_queue() -> None:
    with pytest.raises(KeyError), DeviceThread(lambda: Doubling(fails_leaving=True), "test"):
        raise KeyError
