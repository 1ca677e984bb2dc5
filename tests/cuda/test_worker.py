"""GPUs at work, on fakes: order, memory that runs out, failures, several devices, and an end that leaves nothing."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.cuda.machines import SMALL, SMALL_WITH_CAMS, cams_of, device, fill, network, scores_of

from bsbatch.cuda.device import MisuseError
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.ring import Place
from bsbatch.cuda.worker import GpuWorker, WorkerSettings
from bsbatch.errors import BackendError
from bsbatch.host.device_thread import DeviceThread, distribute
from bsbatch.host.threads import FreeList, ordered_map, run_in_background
from bsbatch.records import Inference

SETTINGS = WorkerSettings(batch=4, slots=3, places=24, layout=SMALL)
"""Two of them pin hardly more places than are in use at once, so each is soon used again."""
SCARCE = 1200
"""Bytes: more than three slots of two examinations take, and less than three of four."""

Scores = NDArray[np.float32]


class Places:
    """A free list that counts."""

    def __init__(self) -> None:
        self.free: FreeList[Place] = FreeList()
        self.given = 0

    def give_back(self, place: Place) -> None:
        self.given += 1
        self.free.give_back(place)

    def filled(self, number: int) -> Place:
        place = self.free.take()
        fill(place, number)
        return place


def worked(
    on: FakeDevice, batches: Sequence[Sequence[int]], load: Any = None, slots: int = 3
) -> tuple[Any, list[Scores]]:
    """Begin all batches and finish them, in this thread; the worker as it was before it left."""
    places = Places()
    settings = WorkerSettings(batch=4, slots=slots, places=40, layout=SMALL)
    with GpuWorker(on, load or network(), settings, places.give_back) as worker:
        for batch in batches:
            worker.begin([places.filled(number) for number in batch])
        found = [worker.finish().probabilities for _ in batches]
        assert places.given == 40 + sum(len(batch) for batch in batches)
        return worker.batch, found


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in threading.enumerate() if thread not in before and "gpu" in thread.name]


def test_batches_of_any_size_come_back_in_their_order() -> None:
    batches = [[1, 2, 3], [4], [], list(range(10, 21)), [30, 31, 32, 33]]
    _, found = worked(device(), batches)
    for batch, scores in zip(batches, found, strict=True):
        assert np.array_equal(scores, scores_of(batch))


def test_slots_that_do_not_fit_are_halved_until_they_do() -> None:
    roomy, _ = worked(device(), [[1]])
    tight, found = worked(device(memory=SCARCE), [[1, 2, 3, 4, 5]])
    assert (roomy, tight) == (4, 2)
    assert np.array_equal(found[0], scores_of([1, 2, 3, 4, 5]))


def test_memory_that_runs_out_in_the_middle_halves_the_slots_and_loses_nothing() -> None:
    batches = [[1], [2, 3, 4, 5], [6], [7, 8, 9, 10]]
    batch, found = worked(device(), batches, network(largest=1))
    assert batch == 1
    for numbers, scores in zip(batches, found, strict=True):
        assert np.array_equal(scores, scores_of(numbers))


def test_a_device_without_memory_for_one_examination_is_refused_with_what_to_do() -> None:
    with pytest.raises(BackendError, match="does not suffice for one examination, 0 MiB are free: end other programs"):
        worked(device(memory=256), [[1]])
    with pytest.raises(BackendError, match="does not suffice"):
        worked(device(), [[1]], network(largest=0))


def test_maps_come_back_with_their_scores_through_slots_that_are_halved() -> None:
    places, batches = Places(), [[1, 2, 3], [], list(range(10, 21))]
    settings = WorkerSettings(batch=4, slots=3, places=40, layout=SMALL_WITH_CAMS)
    with GpuWorker(device(), network(largest=2), settings, places.give_back) as worker:
        for batch in batches:
            worker.begin([places.filled(number) for number in batch])
        found = [worker.finish() for _ in batches]
    for batch, inference in zip(batches, found, strict=True):
        assert inference.cams is not None
        assert np.array_equal(inference.cams, cams_of(batch))
        assert np.array_equal(inference.probabilities, scores_of(batch))


def conveyor(on: FakeDevice, places: Places, load: Any = None) -> DeviceThread[Sequence[Place], Inference]:
    return DeviceThread(lambda: GpuWorker(on, load or network(), SETTINGS, places.give_back), "gpu")


def test_two_devices_share_the_work_and_the_results_keep_their_order() -> None:
    host, places = FakeHost(), Places()
    devices = [device(host=host), device(host=host)]
    batches = [[number, number + 1] for number in range(0, 400, 2)]
    with ExitStack() as stack:
        belts = [stack.enter_context(conveyor(on, places)) for on in devices]
        filled = ([places.filled(number) for number in batch] for batch in batches)
        found = list(distribute(belts, filled, ahead=4))
    assert all(
        np.array_equal(scores.probabilities, scores_of(batch)) for scores, batch in zip(found, batches, strict=True)
    )
    assert all(on._next > 10 * 256 for on in devices)  # both of them had memory and streams


def test_the_drivers_words_end_a_run_that_can_be_resumed() -> None:
    places = Places()
    with conveyor(device(), places, network(fails_at=5)) as belt:
        filled = ([places.filled(number)] for number in range(50))
        with pytest.raises(BackendError, match=r"illegal memory access was encountered.*same command goes on"):
            list(distribute([belt], filled, ahead=4))
        with pytest.raises(BackendError, match="illegal memory access"):
            belt.put([]).result()


def test_a_network_that_cannot_be_loaded_is_told_to_who_enters() -> None:
    def load(_: Any) -> Any:
        raise BackendError("the engine cannot be loaded")

    on = device()
    with pytest.raises(BackendError, match="cannot be loaded"), conveyor(on, Places(), load):
        pass
    with on:
        assert on.free_memory() == on.memory  # left, and clean


def test_an_end_in_the_middle_leaves_nothing_behind() -> None:
    places = Places()
    on = device(seed=3)
    with conveyor(on, places) as belt:
        filled = ([places.filled(number)] for number in range(1000))
        stream = distribute([belt], filled, ahead=4)
        assert [float(scores.probabilities[0, 1]) for scores in islice(stream, 5)] == [
            float(scores_of([n])[0, 1]) for n in range(5)
        ]
        stream.close()
    with on:
        assert on.free_memory() == on.memory


def test_work_of_the_owner_in_another_thread_is_refused() -> None:
    on, places = device(), Places()
    with conveyor(on, places), pytest.raises(MisuseError, match="another thread"):
        on.allocate(64)


def test_who_waits_for_a_place_is_sent_away_when_the_list_closes() -> None:
    places = Places()
    waiting = [run_in_background(places.free.take) for _ in range(2)]
    places.free.close()
    for answer in waiting:
        with pytest.raises(CancelledError, match="has ended"):
            answer.result(timeout=5)


def test_ten_thousand_batches_with_random_delays_keep_their_order_and_leave_nothing_behind() -> None:
    chance, host, places = random.Random(0), FakeHost(), Places()
    sizes = [chance.randrange(1, 6) for _ in range(10_000)]
    total = sum(sizes)
    devices = [device(memory=SCARCE, host=host, seed=1), device(host=host, seed=2)]

    def intake(number: int) -> tuple[int, Place]:
        place = places.filled(number)
        if number % 97 == 0:
            time.sleep(chance.random() / 1000)
        return number, place

    taken: list[int] = []

    def batches() -> Iterator[list[Place]]:
        source = ordered_map(intake, range(total), 3)
        for size in sizes:
            pairs = list(islice(source, size))
            taken.extend(number for number, _ in pairs)
            yield [place for _, place in pairs]

    with ExitStack() as stack:
        belts = [stack.enter_context(conveyor(on, places, network(largest=3))) for on in devices]
        found = np.concatenate([scores.probabilities for scores in distribute(belts, batches(), ahead=3)])
    assert taken == list(range(total))
    assert np.array_equal(found, scores_of(taken))
    assert places.given == 2 * SETTINGS.places + total  # each place came back each time
    for on in devices:
        with on:
            assert on.free_memory() == on.memory
