"""A ring overlaps batches, keeps their order and gives places back as early as may be."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from tests.cuda.machines import SMALL, device, fill, network, scores_of

from bsbatch.cuda.fake import FakeDevice
from bsbatch.cuda.ring import Place, Ring, Ticket

SLOTS, BATCH = 3, 2


@contextmanager
def ring_and_places(on: FakeDevice, number: int = 16) -> Iterator[tuple[Ring, list[Place]]]:
    with on, network()(on) as loaded:
        counts = on.pin((number, SMALL.rows, SMALL.columns), np.uint16)
        scales = on.pin((number, 2, 2), np.float32)
        ring = Ring(on, loaded, SMALL, (SLOTS, BATCH))
        yield ring, [Place(*place) for place in zip(counts.array, scales.array, strict=True)]
        ring.free()
        counts.free()
        scales.free()


def submitted(ring: Ring, places: list[Place], numbers: list[int]) -> Ticket:
    for place, number in zip(places, numbers, strict=True):
        fill(place, number)
    return ring.submit(places)


def test_batches_overlap_and_come_back_as_they_are_asked_for() -> None:
    with ring_and_places(device()) as (ring, places):
        tickets = [submitted(ring, places[2 * n : 2 * n + 2], [10 * n, 10 * n + 1]) for n in range(SLOTS)]
        assert [ticket.inference for ticket in tickets] == [None] * SLOTS  # all of them fly
        for n, ticket in enumerate(tickets):
            assert np.array_equal(ring.wait(ticket).probabilities, scores_of([10 * n, 10 * n + 1]))
        assert ring.seconds.keys() == {"H2D", "compute", "D2H"}


def test_one_batch_more_than_slots_waits_for_the_oldest_alone() -> None:
    with ring_and_places(device()) as (ring, places):
        tickets = [submitted(ring, places[n : n + 1], [n]) for n in range(SLOTS + 1)]
        assert tickets[0].inference is not None
        assert [ticket.inference for ticket in tickets[1:]] == [None] * SLOTS
        assert np.array_equal(ring.wait(tickets[-1]).probabilities, scores_of([SLOTS]))
        assert tickets[1].inference is not None
        assert np.array_equal(tickets[1].inference.probabilities, scores_of([1]))


def test_a_batch_that_is_not_full_is_not_filled_up() -> None:
    with ring_and_places(device()) as (ring, places):
        full = submitted(ring, places[:2], [7, 8])
        ring.wait(full)
        assert ring.wait(submitted(ring, places[2:3], [9])).probabilities.shape == (1, 2)


def test_places_are_free_once_their_images_are_on_the_device_and_not_before() -> None:
    on = device()
    with ring_and_places(on) as (ring, places):
        ticket = submitted(ring, places[:2], [1, 2])
        assert ring.uploaded() == []
        up, _, _ = on.streams.values()
        up.work(1 + 4 + 1)  # an event, two images with their scales, an event
        assert ring.uploaded() == places[:2]
        assert ring.uploaded() == []  # told once
        assert ticket.inference is None
        fill(places[0], 99)
        assert np.array_equal(ring.wait(ticket).probabilities, scores_of([1, 2]))


def test_a_ring_that_does_not_fit_leaves_nothing_behind() -> None:
    on = device(memory=3 * 1024)
    with on, network()(on) as loaded:
        before = on.free_memory()
        with pytest.raises(MemoryError):
            Ring(on, loaded, SMALL, (SLOTS, 100))
        assert on.free_memory() == before


def test_leaving_waits_for_what_flies() -> None:
    with ring_and_places(device()) as (ring, places):
        ticket = submitted(ring, places[:1], [3])
    assert ticket.inference is not None
    assert np.array_equal(ticket.inference.probabilities, scores_of([3]))
    assert ticket.inference.cams is None
