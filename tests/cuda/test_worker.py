"""GPU workers on fake devices: order, memory that runs out, failures, several devices, and a clean end."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.cuda.machines import SMALL, SMALL_WITH_ALL, cams_of, device, distances_of, fill, network, scores_of

from bsbatch.cuda.device import Device, MisuseError
from bsbatch.cuda.fake import FakeDevice, FakeHost, Kernel
from bsbatch.cuda.ring import Network
from bsbatch.cuda.worker import GpuWorker, LoadNetwork, WorkerSettings
from bsbatch.errors import BackendError
from bsbatch.host.device_thread import DeviceThread, distribute
from bsbatch.host.threads import FreeList, ordered_map, run_in_background
from bsbatch.records import Inference, PinnedImage

SETTINGS = WorkerSettings(batch=4, slots=3, pinned_images=24, shape=SMALL)
"""Two devices pin hardly more images than are in use at once, so each is soon used again."""
SCARCE = 1200
"""Bytes of memory that suffice for three slots of two examinations, not of four."""

Scores = NDArray[np.float32]


class Images:
    """A free list that counts the images given back."""

    def __init__(self) -> None:
        self.free: FreeList[PinnedImage] = FreeList()
        self.given = 0

    def give_back(self, image: PinnedImage) -> None:
        self.given += 1
        self.free.give_back(image)

    def fill(self, number: int) -> PinnedImage:
        image = self.free.take()
        fill(image, number)
        return image


def work(
    on: FakeDevice, batches: Sequence[Sequence[int]], load: LoadNetwork | None = None, slots: int = 3
) -> tuple[int, list[Scores]]:
    """Begin and finish all batches in this thread; return the worker's last slot size and the scores."""
    images = Images()
    settings = WorkerSettings(batch=4, slots=slots, pinned_images=40, shape=SMALL)
    with GpuWorker(on, load or network(), settings, images.give_back) as worker:
        for batch in batches:
            worker.begin([images.fill(number) for number in batch])
        found = [worker.finish().probabilities for _ in batches]
        assert images.given == 40 + sum(len(batch) for batch in batches)
        return worker.batch, found


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in threading.enumerate() if thread not in before and "gpu" in thread.name]


def test_batches_of_any_size_come_back_in_their_order() -> None:
    batches = [[1, 2, 3], [4], [], list(range(10, 21)), [30, 31, 32, 33]]
    _, found = work(device(), batches)
    for batch, scores in zip(batches, found, strict=True):
        assert np.array_equal(scores, scores_of(batch))


def test_slots_that_do_not_fit_are_halved_until_they_do() -> None:
    roomy, _ = work(device(), [[1]])
    tight, found = work(device(memory=SCARCE), [[1, 2, 3, 4, 5]])
    assert (roomy, tight) == (4, 2)
    assert np.array_equal(found[0], scores_of([1, 2, 3, 4, 5]))


def test_memory_that_runs_out_in_the_middle_halves_the_slots_and_loses_nothing() -> None:
    batches = [[1], [2, 3, 4, 5], [6], [7, 8, 9, 10]]
    batch, found = work(device(), batches, network(largest=1))
    assert batch == 1
    for numbers, scores in zip(batches, found, strict=True):
        assert np.array_equal(scores, scores_of(numbers))


def test_a_device_without_memory_for_one_examination_is_refused_with_advice() -> None:
    with pytest.raises(BackendError, match="does not suffice for one examination, 0 MiB are free: end other programs"):
        work(device(memory=256), [[1]])
    with pytest.raises(BackendError, match="does not suffice"):
        work(device(), [[1]], network(largest=0))


def test_maps_and_distances_come_back_with_their_scores_through_slots_that_are_halved() -> None:
    images, batches = Images(), [[1, 2, 3], [], list(range(10, 21))]
    settings = WorkerSettings(batch=4, slots=3, pinned_images=40, shape=SMALL_WITH_ALL)
    with GpuWorker(device(), network(largest=2), settings, images.give_back) as worker:
        for batch in batches:
            worker.begin([images.fill(number) for number in batch])
        found = [worker.finish() for _ in batches]
    for batch, inference in zip(batches, found, strict=True):
        assert inference.cams is not None
        assert np.array_equal(inference.cams, cams_of(batch))
        assert inference.distances is not None
        assert np.array_equal(inference.distances, distances_of(batch))
        assert np.array_equal(inference.probabilities, scores_of(batch))


def gpu_thread(
    on: FakeDevice, images: Images, load: LoadNetwork | None = None
) -> DeviceThread[Sequence[PinnedImage], Inference]:
    return DeviceThread(lambda: GpuWorker(on, load or network(), SETTINGS, images.give_back), "gpu")


def test_two_devices_share_the_work_and_the_results_keep_their_order() -> None:
    host, images = FakeHost(), Images()
    devices = [device(host=host), device(host=host)]
    batches = [[number, number + 1] for number in range(0, 400, 2)]
    with ExitStack() as stack:
        threads = [stack.enter_context(gpu_thread(on, images)) for on in devices]
        filled = ([images.fill(number) for number in batch] for batch in batches)
        found = list(distribute(threads, filled, ahead=4))
    assert all(
        np.array_equal(scores.probabilities, scores_of(batch)) for scores, batch in zip(found, batches, strict=True)
    )
    assert all(on._next > 10 * 256 for on in devices)  # both of them had memory and streams


def test_a_run_ends_with_the_drivers_message_and_can_be_resumed() -> None:
    images = Images()
    with gpu_thread(device(), images, network(fails_at=5)) as thread:
        filled = ([images.fill(number)] for number in range(50))
        with pytest.raises(BackendError, match=r"illegal memory access was encountered.*same command goes on"):
            list(distribute([thread], filled, ahead=4))
        with pytest.raises(BackendError, match="illegal memory access"):
            thread.put([]).result()


def test_a_network_that_cannot_be_loaded_raises_on_enter() -> None:
    def load(_: Device) -> AbstractContextManager[Network]:
        raise BackendError("the engine cannot be loaded")

    on = device()
    with pytest.raises(BackendError, match="cannot be loaded"), gpu_thread(on, Images(), load):
        pass
    with on:
        assert on.free_memory() == on.memory  # nothing stays allocated


class Handle:
    """An object of a library; it notes if it ends in the thread that owns the device, or why it does not."""

    def __init__(self, on: FakeDevice, ends: list[str]) -> None:
        self._on, self._ends = on, ends

    def __call__(self, *_: object) -> None: ...

    def __del__(self) -> None:
        try:
            self._on.ownership.check()
        except MisuseError as error:
            self._ends.append(str(error))
        else:
            self._ends.append("with its device")


def test_objects_of_a_network_that_cannot_be_loaded_end_with_the_device_and_not_with_the_error() -> None:
    on, ends = device(), list[str]()

    def load(_: Device) -> AbstractContextManager[Network]:
        plan = Handle(on, ends)
        try:
            raise MemoryError("no context")
        except MemoryError as error:
            raise BackendError(f"{type(plan).__name__} cannot be loaded") from error

    with pytest.raises(BackendError, match="cannot be loaded") as failed, gpu_thread(on, Images(), load):
        pass
    assert ends == ["with its device"]
    assert failed.value.__cause__ is not None


class FailingNetwork:
    """A network that fails on its first batch, with an object of the library at hand."""

    def __init__(self, on: FakeDevice, ends: list[str]) -> None:
        self._contexts = [Handle(on, ends)]

    def enqueue(self, batch: int, *_: object, **__: object) -> None:
        context = self._contexts.pop()
        raise BackendError(f"{type(context).__name__} refuses a batch of {batch}")


def test_objects_of_a_network_that_fails_end_with_the_device_and_not_with_the_error() -> None:
    on, images, ends = device(), Images(), list[str]()
    with gpu_thread(on, images, lambda _: nullcontext(FailingNetwork(on, ends))) as thread:
        with pytest.raises(BackendError, match="refuses a batch of 1") as failed:
            thread.put([images.fill(1)]).result()
        assert ends == ["with its device"]
        assert failed.value.__traceback__ is not None


class Kernels(dict[str, Kernel]):
    """Kernels that are loaded anew for each ring."""

    def __init__(self, on: FakeDevice, ends: list[str]) -> None:
        super().__init__()
        self._on, self._ends = on, ends

    def __missing__(self, _: str) -> Kernel:
        return Handle(self._on, self._ends)


def test_a_kernel_is_unloaded_with_its_device_though_its_worker_lives_on() -> None:
    on, ends = device(), list[str]()
    on._kernels = Kernels(on, ends)
    worker = GpuWorker(on, network(), SETTINGS, Images().give_back)
    with worker:
        assert ends == []
    assert ends == ["with its device"]


def test_an_end_in_the_middle_leaves_nothing_behind() -> None:
    images = Images()
    on = device(seed=3)
    with gpu_thread(on, images) as thread:
        filled = ([images.fill(number)] for number in range(1000))
        stream = distribute([thread], filled, ahead=4)
        assert [float(scores.probabilities[0, 1]) for scores in islice(stream, 5)] == [
            float(scores_of([n])[0, 1]) for n in range(5)
        ]
        stream.close()
    with on:
        assert on.free_memory() == on.memory


def test_using_the_device_from_another_thread_is_refused() -> None:
    on, images = device(), Images()
    with gpu_thread(on, images), pytest.raises(MisuseError, match="another thread"):
        on.allocate(64)


def test_threads_that_wait_for_a_pinned_image_end_when_the_list_closes() -> None:
    images = Images()
    waiting = [run_in_background(images.free.take) for _ in range(2)]
    images.free.close()
    for answer in waiting:
        with pytest.raises(CancelledError, match="has ended"):
            answer.result(timeout=5)


def test_ten_thousand_batches_with_random_delays_keep_their_order_and_leave_nothing_behind() -> None:
    chance, host, images = random.Random(0), FakeHost(), Images()
    sizes = [chance.randrange(1, 6) for _ in range(10_000)]
    total = sum(sizes)
    devices = [device(memory=SCARCE, host=host, seed=1), device(host=host, seed=2)]

    def intake(number: int) -> tuple[int, PinnedImage]:
        image = images.fill(number)
        if number % 97 == 0:
            time.sleep(chance.random() / 1000)
        return number, image

    taken: list[int] = []

    def batches() -> Iterator[list[PinnedImage]]:
        source = ordered_map(intake, range(total), 3)
        for size in sizes:
            pairs = list(islice(source, size))
            taken.extend(number for number, _ in pairs)
            yield [image for _, image in pairs]

    with ExitStack() as stack:
        threads = [stack.enter_context(gpu_thread(on, images, network(largest=3))) for on in devices]
        found = np.concatenate([scores.probabilities for scores in distribute(threads, batches(), ahead=3)])
    assert taken == list(range(total))
    assert np.array_equal(found, scores_of(taken))
    assert images.given == 2 * SETTINGS.pinned_images + total  # each image came back each time
    for on in devices:
        with on:
            assert on.free_memory() == on.memory
