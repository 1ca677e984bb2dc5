"""The rules of the device layer, on the fake and on pycuda: with a GPU, or, by `make pycuda`, with a driver of ours."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, cast

import numpy as np
import pytest
from tests.cuda.machines import normalise_on

from bsbatch.cuda.device import Device, DeviceError, Event, MisuseError, Stream
from bsbatch.cuda.driver import CudaDevice
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.gpu import gpu
from bsbatch.cuda.interface import Interface
from bsbatch.cuda.ring import MODEL, PARTS, Place, Ring
from bsbatch.errors import UsageError
from bsbatch.host.threads import run_in_background
from bsbatch.imaging.preprocess import compact, compose

Make = Callable[[], Device]
USES: dict[str, Callable[[Any, Any], object]] = {
    "memory": lambda device, _: device.allocate(64).free(),
    "pinned memory": lambda device, _: device.pin((4,), np.uint8).free(),
    "a stream": lambda device, _: device.stream().free(),
    "an event": lambda device, _: device.event().free(),
    "free memory": lambda device, _: device.free_memory(),
    "a copy": lambda _, things: things.stream.upload(things.pinned.array, things.memory.address),
    "a wait": lambda _, things: things.event.wait(),
}


def fake() -> Device:
    return FakeDevice(1 << 26, {"normalise": normalise_on(MODEL)}, FakeHost())


def real() -> Device:
    try:
        gpu()
    except UsageError as error:
        pytest.skip(str(error))
    return CudaDevice(0)


@pytest.fixture(params=[fake, real])
def make(request: pytest.FixtureRequest) -> Make:
    """How to make a device that nobody has entered."""
    made: Device = request.param()
    return lambda: made


class Things:
    """One of each kind."""

    def __init__(self, device: Device) -> None:
        self.memory, self.pinned = device.allocate(256), device.pin((256,), np.uint8)
        self.stream, self.event = device.stream(), device.event()

    def free(self) -> None:
        owned: list[Any] = [self.memory, self.pinned, self.stream, self.event]
        for thing in owned:
            thing.free()


@contextmanager
def things_of(device: Device) -> Iterator[Things]:
    things = Things(device)
    yield things
    things.free()


def test_what_goes_up_comes_down_in_the_order_of_the_stream(make: Make) -> None:
    with make() as device, things_of(device) as things:
        other = device.pin((256,), np.uint8)
        things.pinned.array[:] = np.arange(256)
        things.stream.upload(things.pinned.array, things.memory.address)
        things.stream.download(things.memory.address + 16, other.array[:240])
        things.stream.record(things.event)
        things.event.wait()
        assert np.array_equal(other.array[:240], np.arange(16, 256))
        other.free()


def test_the_kernel_makes_the_engines_image(make: Make) -> None:
    """On a GPU, bit for bit; that the fake does, too, says that its kernel may stand for it."""
    random = np.random.default_rng(0)
    anterior, posterior = random.poisson(4.0, (2, 1024, 256)).astype(np.uint16)
    with make() as device:
        counts, scales = device.pin((512, 512), np.uint16), device.pin((2, 2), np.float32)
        result, stream, event = device.pin((512, 512), np.float16), device.stream(), device.event()
        memory = [device.allocate(array.nbytes) for array in (counts.array, scales.array, result.array)]
        compact(anterior, posterior, counts.array, scales.array)
        stream.upload(counts.array, memory[0].address)
        stream.upload(scales.array, memory[1].address)
        addresses = [each.address for each in memory]
        stream.launch(device.kernel("normalise"), (1024, 256), [*addresses, MODEL.pixels])
        stream.download(memory[2].address, result.array)
        stream.record(event)
        event.wait()
        expected = compose(anterior, posterior).astype(np.float16)
        assert np.array_equal(result.array.view(np.uint16), expected.view(np.uint16))
        owned: list[Any] = [counts, scales, result, *memory, stream, event]
        for thing in owned:
            thing.free()


def test_events_are_done_when_they_were_waited_for_and_know_their_time(make: Make) -> None:
    with make() as device, things_of(device) as things:
        first, last = device.event(), things.event
        things.stream.record(first)
        things.stream.upload(things.pinned.array, things.memory.address)
        things.stream.record(last)
        last.wait()
        assert first.is_done
        assert last.is_done
        assert last.seconds_since(first) >= 0
        first.free()


class FirstPixels:
    """A network of copies that are started by handles, as a library starts its work: four pixels of each image."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        for index in range(batch):
            self.copy(image + index * MODEL.pixels * 2, outputs[0] + index * 8, 8, stream.handle)
        if isinstance(self.device, CudaDevice):
            self.device.call("cuEventRecord", c_void_p(consumed.handle), c_void_p(stream.handle))
        else:
            stream.record(consumed)

    def copy(self, source: int, target: int, size: int, stream: int) -> None:
        if isinstance(self.device, CudaDevice):
            numbers = c_uint64(target), c_uint64(source), c_size_t(size), c_void_p(stream)
            self.device.call("cuMemcpyDtoDAsync_v2", *numbers)
        else:
            fake = cast(FakeDevice, self.device)
            fake.streams[stream].start(lambda: np.copyto(fake.bytes_at(target, size), fake.bytes_at(source, size)))


def test_a_ring_gives_what_a_library_makes_of_its_images_with_more_batches_than_slots(make: Make) -> None:
    with make() as device:
        ring = Ring(device, FirstPixels(device), MODEL, (3, 2))
        counts, scales = device.pin((8, 512, 512), np.uint16), device.pin((8, 2, 2), np.float32)
        images = np.random.default_rng(1).poisson(3.0, counts.array.shape).astype(np.uint16)
        counts.array[:], scales.array[:] = images, [0, 100]
        places = [Place(*place) for place in zip(counts.array, scales.array, strict=True)]
        tickets = [ring.submit(places[first : first + 2]) for first in range(0, len(places), 2)]
        found = np.concatenate([ring.wait(ticket).probabilities for ticket in tickets])
        assert np.array_equal(found.view(np.float16), (images[:, 0, :4] / np.float32(100)).astype(np.float16))
        assert ring.uploaded() == []
        assert all(ring.seconds[part] > 0 for part in PARTS)
        ring.free()
        owned: list[Any] = [counts, scales]
        for thing in owned:
            thing.free()


def test_events_are_told_apart_by_their_handles(make: Make) -> None:
    with make() as device, things_of(device) as things:
        other = device.event()
        assert 0 not in (other.handle, things.event.handle)
        assert other.handle != things.event.handle
        other.free()
        with pytest.raises(MisuseError, match="was freed already"):
            _ = other.handle


def test_a_stream_that_follows_another_one_sees_what_that_did_before(make: Make) -> None:
    with make() as device, things_of(device) as things:
        other, result, end = device.stream(), device.pin((256,), np.uint8), device.event()
        things.pinned.array[:] = 7
        things.stream.upload(things.pinned.array, things.memory.address)
        things.stream.record(things.event)
        other.follow(things.event)
        other.download(things.memory.address, result.array)
        things.stream.record(things.event)  # a later point, which is not waited for
        other.record(end)
        end.wait()
        assert (result.array == 7).all()
        things.event.wait()
        owned: list[Any] = [other, result, end]
        for thing in owned:
            thing.free()


@pytest.mark.parametrize("name", ["memory", "pinned", "stream", "event"])
def test_what_was_freed_is_neither_used_nor_freed_again(make: Make, name: str) -> None:
    uses: dict[str, Callable[[Any], object]] = {
        "memory": lambda memory: memory.address,
        "pinned": lambda pinned: pinned.array,
        "stream": lambda stream: stream.upload(np.zeros(4, np.uint8), 0),
        "event": lambda event: event.wait(),
    }
    with make() as device:
        things = Things(device)
        thing = getattr(things, name)
        things.free()
        with pytest.raises(MisuseError, match="was freed already"):
            uses[name](thing)
        with pytest.raises(MisuseError, match="was freed already"):
            thing.free()


@pytest.mark.parametrize("use", USES)
def test_another_thread_is_refused(make: Make, use: str) -> None:
    with make() as device, things_of(device) as things, pytest.raises(MisuseError, match="another thread"):
        run_in_background(lambda: USES[use](device, things)).result()


@pytest.mark.parametrize("use", ["memory", "pinned memory", "a stream", "an event", "free memory"])
def test_nothing_is_made_before_entering_or_after_leaving(make: Make, use: str) -> None:
    device = make()
    with pytest.raises(MisuseError, match="was not entered"):
        USES[use](device, None)
    with device:
        USES[use](device, None)
    with pytest.raises(MisuseError, match="was not entered"):
        USES[use](device, None)


def test_a_device_is_entered_once_at_a_time(make: Make) -> None:
    with make() as device, pytest.raises(MisuseError, match="entered already"):
        device.__enter__()
    with device:
        device.free_memory()


def test_leaving_before_everything_was_freed_is_refused(make: Make) -> None:
    device = make()
    with pytest.raises(MisuseError, match=r"left before everything was freed: .*Memory"), device:
        device.allocate(64)


def test_more_memory_than_there_is_is_refused_and_does_no_harm(make: Make) -> None:
    with make() as device:
        before = device.free_memory()
        with pytest.raises(MemoryError):
            device.allocate(1 << 45)
        device.allocate(1 << 20).free()
        assert device.free_memory() == before


def test_leaving_a_gpu_releases_it_and_leaves_no_context_behind() -> None:
    device, driver = real(), Interface()
    flags, is_active, context = c_uint(), c_int(), c_void_p()
    for _ in range(2):
        with device:
            driver.call("cuDevicePrimaryCtxGetState", 0, byref(flags), byref(is_active))
            assert is_active.value == 1
        driver.call("cuDevicePrimaryCtxGetState", 0, byref(flags), byref(is_active))
        driver.call("cuCtxGetCurrent", byref(context))
        assert (is_active.value, context.value) == (0, None)


def test_a_failure_of_the_driver_is_told_in_its_words_and_breaks_the_device() -> None:
    device = cast(CudaDevice, real())
    with device:
        event = device.event()
        with pytest.raises(DeviceError, match="cuEventQuery failed: "):
            device.call("cuEventQuery", None)
        assert device.ownership.is_broken
        assert event.handle  # and is not freed: nothing can be


def test_the_fake_refuses_a_copy_of_memory_that_is_not_pinned() -> None:
    with fake() as device, things_of(device) as things, pytest.raises(MisuseError, match="not pinned"):
        things.stream.upload(np.zeros(4, np.uint8), things.memory.address)


def test_the_fake_refuses_pinned_memory_that_changes_in_flight() -> None:
    device = fake()
    with device:
        things = Things(device)
        things.pinned.array[:] = 1
        things.stream.upload(things.pinned.array, things.memory.address)
        things.pinned.array[7] = 2
        things.stream.record(things.event)
        with pytest.raises(MisuseError, match="changed while a copy"):
            things.event.wait()


def test_the_fake_refuses_addresses_that_are_not_allocated() -> None:
    device = fake()
    with device:
        things = Things(device)
        things.stream.upload(things.pinned.array, things.memory.address + 1)
        things.stream.record(things.event)
        with pytest.raises(MisuseError, match="not, or not any more, allocated"):
            things.event.wait()


def test_the_fake_refuses_a_grid_that_leaves_pixels_out() -> None:
    with fake() as device, things_of(device) as things, pytest.raises(MisuseError, match="do not reach 257"):
        things.stream.launch(device.kernel("normalise"), (1, 256), [0, 0, 0, 257])


def test_the_fake_refuses_to_free_a_stream_that_has_work() -> None:
    device = fake()
    with device, things_of(device) as things:
        stream = device.stream()
        stream.upload(things.pinned.array, things.memory.address)
        with pytest.raises(MisuseError, match="before its work was done"):
            stream.free()
        stream.record(things.event)
        things.event.wait()
        stream.free()
