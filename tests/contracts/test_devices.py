"""The rules of the device layer, on the fake and on pycuda, with a GPU or with the stand-in driver of `make pycuda`."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_int, c_size_t, c_uint, c_uint64, c_void_p
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.cuda.machines import normalise_on

from bsbatch.cuda.device import Device, DeviceError, Event, Freeable, MisuseError, Stream
from bsbatch.cuda.driver import CudaDevice
from bsbatch.cuda.driver_api import DriverApi
from bsbatch.cuda.fake import FakeDevice, FakeHost
from bsbatch.cuda.gpu import gpu
from bsbatch.cuda.ring import MODEL_SHAPE, PARTS, Ring
from bsbatch.errors import UsageError
from bsbatch.host.threads import run_in_background
from bsbatch.imaging.preprocess import compact, compose
from bsbatch.records import PinnedImage

ROOT = Path(__file__).parents[2]
Make = Callable[[], Device]
USES: dict[str, Callable[[Any, Any], object]] = {
    "memory": lambda device, _: device.allocate(64).free(),
    "pinned memory": lambda device, _: device.pin((4,), np.uint8).free(),
    "a stream": lambda device, _: device.stream().free(),
    "an event": lambda device, _: device.event().free(),
    "free memory": lambda device, _: device.free_memory(),
    "a copy": lambda _, resources: resources.stream.upload(resources.pinned.array, resources.memory.address),
    "a wait": lambda _, resources: resources.event.wait(),
}


def fake() -> Device:
    return FakeDevice(1 << 26, {"normalise": normalise_on(MODEL_SHAPE)}, FakeHost())


def real() -> Device:
    try:
        gpu()
    except UsageError as error:
        pytest.skip(str(error))
    return CudaDevice(0)


@pytest.fixture(params=[fake, real])
def make(request: pytest.FixtureRequest) -> Make:
    """A function that returns a device that is not entered."""
    made: Device = request.param()
    return lambda: made


class Resources:
    """One resource of each kind."""

    def __init__(self, device: Device) -> None:
        self.memory, self.pinned = device.allocate(256), device.pin((256,), np.uint8)
        self.stream, self.event = device.stream(), device.event()

    def free(self) -> None:
        owned: list[Freeable] = [self.memory, self.pinned, self.stream, self.event]
        for resource in owned:
            resource.free()


@contextmanager
def resources_of(device: Device) -> Iterator[Resources]:
    resources = Resources(device)
    yield resources
    resources.free()


def test_copies_are_made_in_the_order_of_the_stream(make: Make) -> None:
    with make() as device, resources_of(device) as resources:
        other = device.pin((256,), np.uint8)
        resources.pinned.array[:] = np.arange(256)
        resources.stream.upload(resources.pinned.array, resources.memory.address)
        resources.stream.download(resources.memory.address + 16, other.array[:240])
        resources.stream.record(resources.event)
        resources.event.wait()
        assert np.array_equal(other.array[:240], np.arange(16, 256))
        other.free()


def test_the_kernel_makes_the_engines_image(make: Make) -> None:
    """Bit for bit; the fake passes, too, so its kernel may stand in for the real one."""
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
        stream.launch(device.kernel("normalise"), (1024, 256), [*addresses, MODEL_SHAPE.pixels])
        stream.download(memory[2].address, result.array)
        stream.record(event)
        event.wait()
        expected = compose(anterior, posterior).astype(np.float16)
        assert np.array_equal(result.array.view(np.uint16), expected.view(np.uint16))
        owned: list[Freeable] = [counts, scales, result, *memory, stream, event]
        for resource in owned:
            resource.free()


def test_events_are_done_after_waiting_and_have_a_time(make: Make) -> None:
    with make() as device, resources_of(device) as resources:
        first, last = device.event(), resources.event
        resources.stream.record(first)
        resources.stream.upload(resources.pinned.array, resources.memory.address)
        resources.stream.record(last)
        last.wait()
        assert first.is_done
        assert last.is_done
        assert last.seconds_since(first) >= 0
        first.free()


class FirstPixels:
    """A network that copies four pixels of each image; it starts the copies by handles, as a library does."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        for index in range(batch):
            self.copy(image + index * MODEL_SHAPE.pixels * 2, outputs[0] + index * 8, 8, stream.handle)
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
            fake.streams[stream].enqueue(lambda: np.copyto(fake.bytes_at(target, size), fake.bytes_at(source, size)))


def test_a_ring_returns_a_librarys_results_with_more_batches_than_slots(make: Make) -> None:
    with make() as device:
        ring = Ring(device, FirstPixels(device), MODEL_SHAPE, slots=3, batch=2)
        counts, scales = device.pin((8, 512, 512), np.uint16), device.pin((8, 2, 2), np.float32)
        images = np.random.default_rng(1).poisson(3.0, counts.array.shape).astype(np.uint16)
        counts.array[:], scales.array[:] = images, [0, 100]
        pinned = [
            PinnedImage(image, scales.array[index], image.ctypes.data, counts.array[index:])
            for index, image in enumerate(counts.array)
        ]
        order = [0, 1, 3, 2, 4, 5, 7, 6]  # neighbours, which are copied together, and others
        batches = [ring.submit([pinned[index] for index in order[first : first + 2]]) for first in range(0, 8, 2)]
        found = np.concatenate([ring.wait(batch).probabilities for batch in batches])
        assert np.array_equal(found.view(np.float16), (images[order, 0, :4] / np.float32(100)).astype(np.float16))
        assert ring.poll_uploaded() == []
        assert all(ring.seconds[part] > 0 for part in PARTS)
        ring.free()
        owned: list[Freeable] = [counts, scales]
        for resource in owned:
            resource.free()


def test_events_have_different_handles(make: Make) -> None:
    with make() as device, resources_of(device) as resources:
        other = device.event()
        assert 0 not in (other.handle, resources.event.handle)
        assert other.handle != resources.event.handle
        other.free()
        with pytest.raises(MisuseError, match="was freed already"):
            _ = other.handle


def test_a_stream_that_follows_another_one_sees_its_earlier_work(make: Make) -> None:
    with make() as device, resources_of(device) as resources:
        other, result, end = device.stream(), device.pin((256,), np.uint8), device.event()
        resources.pinned.array[:] = 7
        resources.stream.upload(resources.pinned.array, resources.memory.address)
        resources.stream.record(resources.event)
        other.follow(resources.event)
        other.download(resources.memory.address, result.array)
        resources.stream.record(resources.event)  # a later point, for which the other stream does not wait
        other.record(end)
        end.wait()
        assert (result.array == 7).all()
        resources.event.wait()
        owned: list[Freeable] = [other, result, end]
        for resource in owned:
            resource.free()


@pytest.mark.parametrize("name", ["memory", "pinned", "stream", "event"])
def test_what_was_freed_is_neither_used_nor_freed_again(make: Make, name: str) -> None:
    uses: dict[str, Callable[[Any], object]] = {
        "memory": lambda memory: memory.address,
        "pinned": lambda pinned: pinned.array,
        "stream": lambda stream: stream.upload(np.zeros(4, np.uint8), 0),
        "event": lambda event: event.wait(),
    }
    with make() as device:
        resources = Resources(device)
        resource = getattr(resources, name)
        resources.free()
        with pytest.raises(MisuseError, match="was freed already"):
            uses[name](resource)
        with pytest.raises(MisuseError, match="was freed already"):
            resource.free()


@pytest.mark.parametrize("use", USES)
def test_another_thread_is_refused(make: Make, use: str) -> None:
    with make() as device, resources_of(device) as resources, pytest.raises(MisuseError, match="another thread"):
        run_in_background(lambda: USES[use](device, resources)).result()


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


def leave_twice() -> list[tuple[int, int, int | None]]:
    """Enter and leave a GPU twice; return if its context is active inside and afterwards, and the current one then."""
    device, driver = CudaDevice(0), DriverApi()
    flags, is_active, context = c_uint(), c_int(), c_void_p()
    found = []
    for _ in range(2):
        with device:
            driver.call("cuDevicePrimaryCtxGetState", 0, byref(flags), byref(is_active))
            inside = is_active.value
        driver.call("cuDevicePrimaryCtxGetState", 0, byref(flags), byref(is_active))
        driver.call("cuCtxGetCurrent", byref(context))
        found.append((inside, is_active.value, context.value))
    return found


def test_leaving_a_gpu_releases_it_and_leaves_no_context_behind() -> None:
    """In a process of its own: where TensorRT or torch ran before, CUDA's runtime keeps the context active."""
    real()
    lazily = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)"  # the driver of `make pycuda` lacks functions
    command = f"{lazily}; from tests.contracts.test_devices import leave_twice; print(leave_twice())"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[(1, 0, None), (1, 0, None)]\n", done.stderr


def test_a_failure_of_the_driver_is_raised_with_its_message_and_breaks_the_device() -> None:
    device = cast(CudaDevice, real())
    with device:
        event = device.event()
        with pytest.raises(DeviceError, match="cuEventQuery failed: "):
            device.call("cuEventQuery", None)
        assert device.ownership.is_broken
        assert event.handle  # it is not freed: after a failure nothing can be


def test_the_fake_refuses_a_copy_of_memory_that_is_not_pinned() -> None:
    with fake() as device, resources_of(device) as resources, pytest.raises(MisuseError, match="not pinned"):
        resources.stream.upload(np.zeros(4, np.uint8), resources.memory.address)


def test_the_fake_refuses_pinned_memory_that_changes_in_flight() -> None:
    device = fake()
    with device:
        resources = Resources(device)
        resources.pinned.array[:] = 1
        resources.stream.upload(resources.pinned.array, resources.memory.address)
        resources.pinned.array[7] = 2
        resources.stream.record(resources.event)
        with pytest.raises(MisuseError, match="changed while a copy"):
            resources.event.wait()


def test_the_fake_refuses_addresses_that_are_not_allocated() -> None:
    device = fake()
    with device:
        resources = Resources(device)
        resources.stream.upload(resources.pinned.array, resources.memory.address + 1)
        resources.stream.record(resources.event)
        with pytest.raises(MisuseError, match="not, or not any more, allocated"):
            resources.event.wait()


def test_the_fake_refuses_a_grid_that_leaves_pixels_out() -> None:
    with fake() as device, resources_of(device) as resources, pytest.raises(MisuseError, match="do not reach 257"):
        resources.stream.launch(device.kernel("normalise"), (1, 256), [0, 0, 0, 257])


def test_the_fake_refuses_to_free_a_stream_that_has_work() -> None:
    device = fake()
    with device, resources_of(device) as resources:
        stream = device.stream()
        stream.upload(resources.pinned.array, resources.memory.address)
        with pytest.raises(MisuseError, match="before its work was done"):
            stream.free()
        stream.record(resources.event)
        resources.event.wait()
        stream.free()
