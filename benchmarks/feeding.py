"""Whole runs on simulated GPUs: the share of the time in which they compute, and whom they wait for."""

from math import ceil
from statistics import median

from benchmarks.kit import write_archive
from benchmarks.results import Line, Outcome, Row, Target
from benchmarks.setup import Setup
from benchmarks.simulated_gpu.device import Speed
from benchmarks.simulated_gpu.run import Feeding, feed

from bsbatch.host.machine import usable_cpus
from bsbatch.host.malloc import keep_freed_memory

BUSY, BUSY_AT_MOST = Target(95.0, "%", True), Target(90.0, "%", True)
INTERPRETER = Target(0.1, "ms", False)
_RATE, _ENDLESS = 1500.0, 1e6
"""Scans in a second of the GPU of the target, and of one that is never waited for."""
_WANTED = (1000, 3000, 6000)
_CORES = (16, 64)
_CAUSES = ("reading", "commit", "concluding", "handing over", "copying in")


def feeding(setup: Setup) -> Outcome:
    """Runs on simulated GPUs, in turns."""
    keep_freed_memory()
    archive, rounds = setup.runs / "feeding", setup.sizes.rounds
    write_archive(archive, setup.sizes.feeding_scans)
    endless, wanted, most = [], [], []
    for _ in range(rounds):
        endless.append(feed(archive, Speed(_ENDLESS), 1))
        wanted.append(feed(archive, Speed(_RATE), 1))
        most.append(feed(archive, Speed(endless[-1].rate), 1))
    rows = [
        Row(f"a simulated GPU of {_RATE:,.0f} scans/s computes", BUSY, [100 * run.busy for run in wanted]),
        Row("the same at the rate of readers alone", BUSY_AT_MOST, [100 * run.busy for run in most]),
        Row("processor time a scan outside of compiled code", INTERPRETER, [_interpreter(run) for run in endless]),
    ]
    detail = [
        _line(devices, rate, [feed(archive, Speed(rate), devices) for _ in range(rounds)])
        for devices, rate in setup.sizes.machines
    ]
    return Outcome("feeding", rows, detail, [_SIMULATED, *_needs(endless)])


_ASSUMED = """compiled code is as fast on every core, nothing outside of it runs in two threads at once (one interpreter
lock), and memory and disk suffice"""

_SIMULATED = """No GPU took part: simulated ones take time and compute nothing. Under them the whole of `bsbatch run` is
real, with the backend `tensorrt`, its threads, rings and pinned memory. Shares are of the time from the first batch to
the last one, all GPUs together. GPUs waited for readers, for commits, for the thread that takes the scores
(concluding), for their own thread (handing over), and for copies."""


def _interpreter(run: Feeding) -> float:
    return run.processor_ms - run.compiled_ms


def _line(devices: int, rate: float, runs: list[Feeding]) -> Line:
    def share(values: list[float]) -> str:
        return f"{100 * median(values):.1f} %"

    waits = {cause: share([run.waits.get(cause, 0.0) for run in runs]) for cause in _CAUSES}
    return {
        "GPUs": str(devices),
        "scans/s each": f"{rate:,.0f}",
        "scans/s found": f"{median(run.rate for run in runs):,.0f}",
        "computing": share([run.busy for run in runs]),
        **waits,
        "cores had": median(run.cores for run in runs),
        "processor ms a scan": median(run.processor_ms for run in runs),
    }


def _needs(endless: list[Feeding]) -> list[str]:
    """Say what feeding takes here and, under assumptions, on larger machines."""
    whole, serial = median(run.processor_ms for run in endless), median(_interpreter(run) for run in endless)
    here = median(run.rate for run in endless)
    known = (
        f"A scan takes {whole:.2f} ms of processors, {serial:.2f} ms of them outside of the compiled code that reads."
    )
    measured = f"{usable_cpus()} cores fed {here:,.0f} scans/s."
    larger = " and ".join(f"{cores} cores {_fed(cores, whole, serial):,.0f} scans/s" for cores in _CORES)
    needs = "; ".join(
        f"{devices} x {rate:,}/s {_cores(devices * rate, whole, serial)}" for devices in (1, 2, 4) for rate in _WANTED
    )
    return [
        f"{known} {measured}",
        f"Not measured: {larger}, if {_ASSUMED}.",
        f"Cores that GPUs would need under the same assumptions: {needs}.",
    ]


def _fed(cores: int, whole: float, serial: float) -> float:
    return 1000 * min(cores / whole, 1 / serial)


def _cores(rate: int, whole: float, serial: float) -> str:
    """Cores for a rate in scans per second."""
    return f"{ceil(rate * whole / 1000)}" if rate * serial <= 1000 else "more than one process"  # noqa: PLR2004 - ms in 1 s
