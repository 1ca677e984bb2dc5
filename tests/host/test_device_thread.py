import pytest
from tests.host.waiting import PATIENCE

from bsbatch.host.device_thread import DeviceThread, distribute
from bsbatch.host.threads import thread_identity


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

    with DeviceThread(make, "test") as conveyor:
        assert list(distribute([conveyor], range(100), ahead=4)) == [2 * number for number in range(100)]
    (station,) = stations
    assert station.is_left
    assert station.most == 2
    assert station.threads.isdisjoint({thread_identity()})
    assert len(station.threads) == 1


def test_a_conveyor_does_at_its_end_what_was_put_before() -> None:
    with DeviceThread(Doubling, "test") as conveyor:
        answers = [conveyor.put(number) for number in range(10)]
    assert [answer.result(timeout=0) for answer in answers] == [2 * number for number in range(10)]


def test_an_error_answers_all_that_waits_on_a_conveyor_and_all_that_comes() -> None:
    with DeviceThread(lambda: Doubling(fails_at=3), "test") as conveyor:
        answers = [conveyor.put(number) for number in range(8)]
        assert [answer.result(PATIENCE) for answer in answers[:3]] == [0, 2, 4]
        for answer in (*answers[3:], conveyor.put(9)):
            with pytest.raises(ValueError, match="no double of 3"):
                answer.result(PATIENCE)


def test_the_first_failure_of_several_conveyors_is_raised_where_its_result_would_have_been() -> None:
    with DeviceThread(lambda: Doubling(6), "test") as one, DeviceThread(lambda: Doubling(6), "test") as other:
        found: list[int] = []
        with pytest.raises(ValueError, match="no double of 6"):
            found.extend(distribute([one, other], range(40), ahead=2))
    assert found == [0, 2, 4, 6, 8, 10]


def test_an_error_of_entering_or_leaving_a_station_is_raised_by_its_conveyor() -> None:
    def fail() -> Doubling:
        raise OSError("it cannot be made")

    with pytest.raises(OSError, match="cannot be made"), DeviceThread(fail, "test"):
        pass
    with pytest.raises(OSError, match="cannot be left"), DeviceThread(lambda: Doubling(fails_leaving=True), "test"):
        pass
