from typing import Self

import pytest
from tests.host.waiting import PATIENCE

from bsbatch.host.device_thread import DeviceThread, distribute
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
