"""A step of `make gpu`: the backend is entered and left twice in one process, and its memory is free again."""

import time
from collections.abc import Iterator

import numpy as np
from benchmarks.equality import DifferentResultsError
from benchmarks.gpu.machine import network_here
from benchmarks.gpu.step import Setup, run_step
from benchmarks.results import Line

from bsbatch.backends.tensorrt import TensorRtBackend
from bsbatch.config import Effort
from bsbatch.cuda.driver import CudaDevice
from bsbatch.geometry import INPUT_SHAPE
from bsbatch_build.checks.verify import TOLERANCES

_TURNS = 2
_SLACK = 64
"""MiB that a library may keep for itself after its first use."""


def measure(setup: Setup) -> Iterator[Line]:
    """Yield the seconds of each turn, and the device memory that is free afterwards.

    Raises
    ------
    DifferentResultsError
        The scores of two turns differ, or the second turn leaves less memory free than the first.
    """
    size, tolerance = setup.sizes.batch, TOLERANCES["fp16"]
    images = np.random.default_rng(0).random((size, *INPUT_SHAPE), np.float32)
    scores, free = [], []
    with network_here(setup):
        for turn in range(_TURNS):
            started = time.perf_counter()
            with TensorRtBackend(setup.model, Effort(batch_size=size)) as backend:
                entered = time.perf_counter()
                scores.append(backend.infer(images).probabilities)
                scored = time.perf_counter()
            left = time.perf_counter()
            with CudaDevice(0) as device:
                free.append(device.free_memory() >> 20)
            spans = {"entering s": entered - started, "a batch s": scored - entered, "leaving s": left - scored}
            difference = float(np.abs(scores[-1] - scores[0]).max())
            yield {"turn": str(turn + 1), **spans, "free MiB": str(free[-1]), "difference": f"{difference:.1e}"}
    if not difference <= tolerance or free[0] - free[-1] > _SLACK:
        raise DifferentResultsError("the second turn has other scores, or leaves less memory free")


if __name__ == "__main__":
    run_step(measure)
