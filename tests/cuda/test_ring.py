"""A ring overlaps batches, keeps their order and frees pinned images as early as possible."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.cuda.machines import SMALL, device, fill, network, scores_of

from bsbatch.cuda.fake import FakeDevice
from bsbatch.cuda.ring import Ring, SubmittedBatch, _join_neighbours
from bsbatch.records import PinnedImage

SLOTS, BATCH = 3, 2


@contextmanager
def ring_and_images(on: FakeDevice, number: int = 16) -> Iterator[tuple[Ring, list[PinnedImage]]]:
    with on, network()(on) as loaded:
        counts = on.pin((number, SMALL.rows, SMALL.columns), np.uint16)
        scales = on.pin((number, 2, 2), np.float32)
        ring = Ring(on, loaded, SMALL, SLOTS, BATCH)
        yield ring, [PinnedImage(*pair) for pair in zip(counts.array, scales.array, strict=True)]
        ring.free()
        counts.free()
        scales.free()


def submit(ring: Ring, images: list[PinnedImage], numbers: list[int]) -> SubmittedBatch:
    for image, number in zip(images, numbers, strict=True):
        fill(image, number)
    return ring.submit(images)


def test_batches_overlap_and_come_back_on_request() -> None:
    with ring_and_images(device()) as (ring, images):
        batches = [submit(ring, images[2 * n : 2 * n + 2], [10 * n, 10 * n + 1]) for n in range(SLOTS)]
        assert [batch.inference for batch in batches] == [None] * SLOTS  # all are in flight
        for n, batch in enumerate(batches):
            assert np.array_equal(ring.wait(batch).probabilities, scores_of([10 * n, 10 * n + 1]))
        assert ring.seconds.keys() == {"H2D", "compute", "D2H"}


def test_one_batch_more_than_slots_waits_for_the_oldest_alone() -> None:
    with ring_and_images(device()) as (ring, images):
        batches = [submit(ring, images[n : n + 1], [n]) for n in range(SLOTS + 1)]
        assert batches[0].inference is not None
        assert [batch.inference for batch in batches[1:]] == [None] * SLOTS
        assert np.array_equal(ring.wait(batches[-1]).probabilities, scores_of([SLOTS]))
        assert batches[1].inference is not None
        assert np.array_equal(batches[1].inference.probabilities, scores_of([1]))


def test_a_batch_that_is_not_full_is_not_padded() -> None:
    with ring_and_images(device()) as (ring, images):
        full = submit(ring, images[:2], [7, 8])
        ring.wait(full)
        assert ring.wait(submit(ring, images[2:3], [9])).probabilities.shape == (1, 2)


def test_pinned_images_are_free_once_they_are_on_the_device_and_not_before() -> None:
    on = device()
    with ring_and_images(on) as (ring, images):
        batch = submit(ring, images[:2], [1, 2])
        assert ring.poll_uploaded() == []
        up, _, _ = on.streams.values()
        up.work(1 + 3 + 1)  # an event, the scales of all and two images, an event
        assert ring.poll_uploaded() == images[:2]
        assert ring.poll_uploaded() == []  # reported once
        assert batch.inference is None
        fill(images[0], 99)
        assert np.array_equal(ring.wait(batch).probabilities, scores_of([1, 2]))


def pinned_together(counts: NDArray[np.uint16]) -> list[PinnedImage]:
    scales = np.zeros((len(counts), 2, 2), np.float32)
    return [PinnedImage(image, scales[index], image.ctypes.data, counts[index:]) for index, image in enumerate(counts)]


def runs_of(images: Sequence[PinnedImage]) -> list[NDArray[np.generic]]:
    return list(_join_neighbours(images))


def test_neighbours_in_memory_are_copied_together() -> None:
    memory = np.arange(7 * 6, dtype=np.uint16).reshape(7, 2, 3)
    first, second = pinned_together(memory[:4]), pinned_together(memory[4:])  # the second begins where the first ends
    alone = PinnedImage(np.ones((2, 3), np.uint16), np.zeros((2, 2), np.float32))
    order = [first[0], first[1], *first[2:], *second[:2], alone, alone, second[2], first[1], first[0], first[2]]

    runs = runs_of(order)

    assert [len(run) if run.ndim == 3 else 0 for run in runs] == [4, 2, 0, 0, 1, 1, 1, 1]
    assert all(run.flags.c_contiguous for run in runs)
    joined = np.concatenate([run.reshape(-1, 2, 3) for run in runs])
    np.testing.assert_array_equal(joined, [image.counts for image in order])


@given(st.lists(st.integers(0, 11), max_size=30))
def test_copies_hold_the_images_in_their_order(places: list[int]) -> None:
    memory = np.arange(12 * 4, dtype=np.uint16).reshape(12, 2, 2)
    images = [*pinned_together(memory[:5]), *pinned_together(memory[5:])]

    runs = runs_of([images[place] for place in places])

    assert np.array_equal(np.concatenate([*runs, memory[:0]]), memory[places])
    breaks = sum(after != before + 1 or after == 5 for before, after in pairwise(places))
    assert len(runs) == breaks + bool(places)


def test_a_ring_that_does_not_fit_leaves_nothing_behind() -> None:
    on = device(memory=3 * 1024)
    with on, network()(on) as loaded:
        before = on.free_memory()
        with pytest.raises(MemoryError):
            Ring(on, loaded, SMALL, SLOTS, 100)
        assert on.free_memory() == before


def test_leaving_waits_for_batches_in_flight() -> None:
    with ring_and_images(device()) as (ring, images):
        batch = submit(ring, images[:1], [3])
    assert batch.inference is not None
    assert np.array_equal(batch.inference.probabilities, scores_of([3]))
    assert batch.inference.cams is None
