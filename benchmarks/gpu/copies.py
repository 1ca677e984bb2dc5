"""A step of `make gpu`: the rate of copies between pinned memory and the GPU, image by image, and both at once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TypeVar

import numpy as np
from benchmarks.gpu.machine import require_gpu
from benchmarks.gpu.step import Setup, run_step
from benchmarks.results import Line

from bsbatch.cuda.device import Device, Freeable, Stream
from bsbatch.cuda.driver import CudaDevice
from bsbatch.geometry import IMAGE_SHAPE

_Owned = TypeVar("_Owned", bound=Freeable)
Copies = Mapping[Stream, Callable[[], object]]
"""A function that copies a batch, for each stream."""


def measure(setup: Setup) -> Iterator[Line]:
    """Yield gigabytes in a second of each direction alone, and the share of the shorter one hidden if both run."""
    require_gpu()
    with CudaDevice(0) as device, ExitStack() as stack:

        def own(resource: _Owned) -> _Owned:
            stack.callback(resource.free)
            return resource

        shape, times = (setup.sizes.batch, *IMAGE_SHAPE), setup.sizes.copies
        pinned = [own(device.pin(shape, np.uint16)).array for _ in range(2)]
        size, step = pinned[0].nbytes, pinned[0][0].nbytes
        addresses = [own(device.allocate(size)).address for _ in range(2)]
        up, down = own(device.stream()), own(device.stream())

        def upload() -> None:
            for index, image in enumerate(pinned[0]):
                up.upload(image, addresses[0] + index * step)

        def download() -> None:
            for index, image in enumerate(pinned[1]):
                down.download(addresses[1] + index * step, image)

        _time(device, {up: upload, down: download}, 1)
        alone = [_time(device, {up: upload}, times), _time(device, {down: download}, times)]
        both = _time(device, {up: upload, down: download}, times)
        for name, seconds in zip(("H2D", "D2H"), alone, strict=True):
            yield {"copies": name, "GB/s": times * size / seconds / 1e9}
        yield {
            "copies": "both at once",
            "GB/s": 2 * times * size / both / 1e9,
            "hidden": f"{(sum(alone) - both) / min(alone):.1%}",
        }


def _time(device: Device, copies: Copies, times: int) -> float:
    """Return the seconds, by the device's clock, until all streams have made their copies."""
    begun, ended = device.event(), [device.event() for _ in copies]
    for index, stream in enumerate(copies):
        if index == 0:
            stream.record(begun)
        stream.follow(begun)
    for _ in range(times):
        for copy in copies.values():
            copy()
    for stream, event in zip(copies, ended, strict=True):
        stream.record(event)
    for event in ended:
        event.wait()
    seconds = max(event.seconds_since(begun) for event in ended)
    for event in (begun, *ended):
        event.free()
    return seconds


if __name__ == "__main__":
    run_step(measure)
