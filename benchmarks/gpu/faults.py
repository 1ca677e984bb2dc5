"""``bsbatch run`` on the GPU of this machine, with a fault.

``python -m benchmarks.gpu.faults FAULT FOLDER [--quick]``, then the command line of bsbatch.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import numpy as np
from benchmarks.gpu.machine import Fault, network_here, no_fault
from benchmarks.gpu.step import Setup

from bsbatch.cli import main as bsbatch
from bsbatch.cuda.device import Device, Event, Stream
from bsbatch.cuda.library import available_flavour
from bsbatch.cuda.ring import KERNEL, Network

BAD_COPY, BAD_KERNEL, NO_MEMORY, LITTLE_MEMORY, NONE = "bad copy", "bad kernel", "no memory", "little memory", "none"
_NOWHERE = 64
"""An address that is not allocated."""
_SMALLEST = 1 << 16
"""Bytes of the smallest piece of memory that is taken."""
_AFTER = 4
"""Batches before a fault, the test image of a run among them."""


class _FailingNetwork:
    """A network that does something wrong after some batches; see `bsbatch.cuda.ring.Network`."""

    def __init__(self, network: Network, fail: Callable[[Stream], object]) -> None:
        self._network, self._fail, self._left = network, fail, _AFTER

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        self._left -= 1
        if self._left < 0:
            self._fail(stream)
        self._network.enqueue(batch, image, outputs, stream, consumed)


def _bad_copy(_: Device, network: Network) -> nullcontext[Network]:
    return nullcontext(_FailingNetwork(network, lambda stream: stream.upload(np.zeros(1, np.uint8), _NOWHERE)))


def _bad_kernel(device: Device, network: Network) -> nullcontext[Network]:
    def launch(stream: Stream) -> None:
        stream.launch(device.kernel(KERNEL), (1, 256), [_NOWHERE, _NOWHERE, _NOWHERE, 256])

    return nullcontext(_FailingNetwork(network, launch))


def _leave(size: int) -> Fault:
    """Return a fault that leaves so many bytes of device memory free; it takes memory in pieces, down to small ones."""

    @contextmanager
    def take_memory(device: Device, network: Network) -> Iterator[Network]:
        with ExitStack() as stack:
            piece = device.free_memory() - size
            while piece >= _SMALLEST:
                try:
                    stack.callback(device.allocate(piece).free)
                except MemoryError:
                    piece //= 2
                piece = min(piece, device.free_memory() - size)
            yield network

    return take_memory


def main() -> None:
    """Run the command line of bsbatch."""
    sys.setdlopenflags(os.RTLD_LAZY)  # the driver of `make pycuda` lacks functions
    name, folder, *command = sys.argv[1:]
    setup = Setup(Path(folder), command[0] == "--quick")
    # an engine has its workspace by then, and a batch still needs 2 MiB for each image
    left = setup.sizes.left if available_flavour() is None else setup.sizes.batch << 20
    faults: dict[str, Fault] = {
        BAD_COPY: _bad_copy,
        BAD_KERNEL: _bad_kernel,
        NO_MEMORY: _leave(0),
        LITTLE_MEMORY: _leave(left),
        NONE: no_fault,
    }
    sys.argv = ["bsbatch", *command[setup.is_quick :]]
    with network_here(setup, faults[name]):
        bsbatch()


if __name__ == "__main__":
    main()
