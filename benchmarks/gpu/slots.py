"""A step of `make gpu`: computing alone, by batch size, with the functions of the backend's own sweep."""

from collections.abc import Iterator

from benchmarks.gpu.machine import open_backend, require_gpu
from benchmarks.gpu.step import Setup, run_step
from benchmarks.results import Line

from bsbatch.bench.ceiling import Ceiling, macs_of


def measure(setup: Setup) -> Iterator[Line]:
    """Yield scans in a second by the GPU's clock, and the share of its arithmetic peak."""
    ceiling = Ceiling(macs_of(setup.model.manifest), require_gpu().peak_flops)
    with open_backend(setup) as backend:
        backend._fill_pool()
        for size in setup.sizes.slots:
            rate = backend._measure_rate(size)
            share = ceiling.share(rate)
            known = {} if share is None else {"of the float16 peak": f"{share:.1%}"}
            yield {"images in a batch": str(size), "scans/s": rate, **known}


if __name__ == "__main__":
    run_step(measure)
