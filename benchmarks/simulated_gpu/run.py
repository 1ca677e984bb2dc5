"""A whole run on simulated GPUs: the real intake, pipeline, backend, rings and tables, and where the GPUs waited.

``python -m benchmarks.simulated_gpu.run ARCHIVE --rate 1500 --devices 1`` runs one and prints it as JSON.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.simulated_gpu.device import SimulatedDevice, SimulatedNetwork, Speed

from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import BackendName, Effort, RunConfig
from bsbatch.cuda.engines import PRECISION, Engine, EngineKey
from bsbatch.cuda.gpu import Gpu
from bsbatch.host.device_thread import DeviceThread
from bsbatch.host.machine import usable_cpus
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import GRAPH, Manifest, sha256_of, write_manifest
from bsbatch.native import files
from bsbatch.native.view_pairs import pair_functions
from bsbatch.pipeline.batching import Batch, batches
from bsbatch.requirements import Requirement
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen
from bsbatch.sinks import parquet
from bsbatch.store.parts import write_part
from bsbatch.telemetry import Telemetry

Span = tuple[float, float]
"""Start and end, by `time.perf_counter`."""
_BATCHES = (1, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Feeding:
    """One run, measured from the first batch's start on a GPU to the last one's end."""

    scans: int
    seconds: float
    rate: float
    """Scans in a second."""
    busy: float
    """Share of the time in which GPUs computed, all GPUs together."""
    busy_by_device: list[float]
    waits: dict[str, float]
    """Shares of the time in which GPUs did not compute, by cause; with ``busy`` they add up to 1."""
    cores: float
    """Processors at work on average, from the start to the last commit: other programs may have had the rest."""
    processor_ms: float
    """Milliseconds of processors for a scan, from the start to the last commit."""
    compiled_ms: float
    """Milliseconds of that in compiled code without the interpreter lock; the rest: interpreter, system calls."""
    calls: float
    """Calls of the driver for a scan."""


def feed(archive: Path, speed: Speed, devices: int, threads: int | None = None, batch: int = _BATCHES[-1]) -> Feeding:
    """Run an archive on simulated GPUs.

    Parameters
    ----------
    archive
        Files of scans.
    speed, devices
        Speed of each GPU, and their number.
    threads
        Threads that read; all processors by default.
    batch
        Batch of the fastest engine.
    """
    machine = [SimulatedDevice(speed) for _ in range(devices)]
    telemetry = _Spans(devices)
    with tempfile.TemporaryDirectory(prefix="bsbatch-feeding-") as folder, _simulated(machine, batch, telemetry):
        model = _write_model(Path(folder) / "model")
        config = RunConfig(archive, Path(folder) / "out", model, BackendName.TENSORRT, effort=Effort(threads))
        report = screen(config, SilentReporter())
    return _summarise(machine, telemetry, report.scored)


class _Spans(Telemetry):
    """Telemetry that also keeps when each stage was at work."""

    def __init__(self, devices: int) -> None:
        super().__init__()
        self.spans: dict[str, list[Span]] = {"commit": [], "held": []}
        self.put: list[list[float]] = [[] for _ in range(devices)]
        """When each batch was submitted to a device."""
        self.began, self.processor_before, self.processor_after = 0.0, 0.0, 0.0
        """Start, and the process's processor seconds then and at the end of the last commit."""
        self.compiled: list[float] = []
        """Processor seconds of each call that needs no interpreter lock: reading, measuring, hashing, writing."""

    def start(self) -> "_Spans":
        """Begin, once the backend is loaded."""
        self.began, self.processor_before = time.perf_counter(), time.process_time()
        return self

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Add the processor time of a function's calls to `compiled`."""

        def call(*arguments: Any) -> Any:
            started = time.thread_time()
            result = function(*arguments)
            self.compiled.append(time.thread_time() - started)
            return result

        return call

    def add(self, stage: str, seconds: float, items: int) -> None:
        """See `Telemetry.add`."""
        super().add(stage, seconds, items)
        now = time.perf_counter()
        if stage == "commit":
            self.processor_after = time.process_time()
        self.spans.setdefault(stage, []).append((now - seconds, now))


@contextmanager
def _simulated(machine: list[SimulatedDevice], slot: int, telemetry: _Spans) -> Iterator[None]:
    """Put simulated GPUs, an engine for them and the telemetry in the place of real ones."""
    backend, left = "bsbatch.backends.tensorrt", iter(machine)
    key = EngineKey("tensorrt", "0", "sm_00", PRECISION, "0" * 16, _BATCHES, ("probabilities",))
    replacements: dict[str, Any] = {
        "gpus": lambda: tuple(Gpu("simulated", "sm_00") for _ in machine),
        "CudaDevice": lambda _: next(left),
        "_find_engine_for": lambda *_: (None, Engine(Path(), key)),
        "load_network": lambda device, *_: nullcontext(SimulatedNetwork(device, _BATCHES[-1])),
    }
    put, cut, native = DeviceThread.put, batches, pair_functions()

    def note_held(*arguments: Any) -> Iterator[Batch]:
        for batch in cut(*arguments):
            held_since = time.perf_counter()
            yield batch
            telemetry.spans["held"].append((held_since, time.perf_counter()))

    def note(thread: Any, item: Any) -> Any:
        telemetry.put[int(thread._thread.name.rpartition("-")[2])].append(time.perf_counter())
        return put(thread, item)

    with ExitStack() as stack:
        read = files._load_read()
        if native is not None and read is not None:
            stack.enter_context(patch.object(native, "_load", telemetry.timed(native._load)))
            timed_read = telemetry.timed(read)
            stack.enter_context(patch.object(files, "_load_read", lambda: timed_read))
        stack.enter_context(patch.object(parquet, "write_part", telemetry.timed(write_part)))
        stack.enter_context(patch.object(DeviceThread, "put", note))
        stack.enter_context(patch("bsbatch.pipeline.screening.batches", note_held))
        stack.enter_context(patch.multiple(backend, **replacements))
        stack.enter_context(patch(f"{backend}.TensorRtBackend._fastest_slot", lambda *_: slot))
        stack.enter_context(patch("bsbatch.run.screen.Telemetry", telemetry.start))
        stack.enter_context(patch.dict(REQUIREMENTS, {BackendName.TENSORRT: Requirement()}))
        yield


def _write_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / GRAPH).write_bytes(b"no graph")
    files = {GRAPH: sha256_of(folder / GRAPH)}
    manifest = Manifest(files, VERSION, "simulated", distance_name="distance", distance_limit=1.0)
    write_manifest(folder, manifest)
    return folder


def _summarise(machine: list[SimulatedDevice], telemetry: _Spans, scans: int) -> Feeding:
    work = [[span for span in device.computing if span[0] >= telemetry.began] for device in machine]
    begin, end = min(spans[0][0] for spans in work if spans), max(spans[-1][1] for spans in work if spans)
    busy = [_length(spans) / (end - begin) for spans in work]
    waits: defaultdict[str, float] = defaultdict(float)
    for device, put in zip(machine, telemetry.put, strict=True):
        for cause, seconds in _causes(device, put, (begin, end), telemetry):
            waits[cause] += seconds / (end - begin) / len(machine)
    processor = telemetry.processor_after - telemetry.processor_before
    return Feeding(
        scans,
        end - begin,
        scans / (end - begin),
        sum(busy) / len(busy),
        busy,
        dict(waits),
        processor / (telemetry.spans["commit"][-1][1] - telemetry.began),
        1000 * processor / scans,
        1000 * sum(telemetry.compiled) / scans,
        sum(device.calls for device in machine) / scans,
    )


def _causes(device: SimulatedDevice, put: list[float], whole: Span, telemetry: _Spans) -> Iterator[tuple[str, float]]:
    """Yield causes for which a device was idle, and for how many seconds."""
    idle_since, end = whole
    for (start, stop), submitted, enqueued in zip(device.computing, put, device.enqueued, strict=True):
        if start >= whole[0]:
            arrival = min(start, max(idle_since, submitted))
            ready = min(start, max(arrival, enqueued))
            yield from _before_submission((idle_since, arrival), telemetry)
            yield "handing over", ready - arrival
            yield "copying in", start - ready
            idle_since = stop
    yield from _before_submission((idle_since, end), telemetry)


def _before_submission(gap: Span, telemetry: _Spans) -> Iterator[tuple[str, float]]:
    """Split the time in which a device had no batch: readers too slow, or held back by scores that nobody took."""
    held = [part for span in telemetry.spans["held"] if (part := _both(span, gap))]
    commit = _length([part for span in telemetry.spans["commit"] for each in held if (part := _both(span, each))])
    yield "reading", _length([gap]) - _length(held)
    yield "commit", commit
    yield "concluding", _length(held) - commit


def _both(one: Span, other: Span) -> Span | None:
    """Return the time in both of two spans, if there is any."""
    start, stop = max(one[0], other[0]), min(one[1], other[1])
    return (start, stop) if start < stop else None


def _length(spans: list[Span]) -> float:
    return sum(stop - start for start, stop in spans)


def main() -> None:
    """Run one archive."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated_gpu.run", description=main.__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--rate", type=float, default=1500, help="scans in a second of each GPU")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--lets-go", action="store_true", help="calls of the driver let go of the interpreter lock")
    parser.add_argument("--spins", action="store_true", help="waiting for an event keeps a processor busy")
    given = parser.parse_args()
    speed = Speed(given.rate, keeps_lock=not given.lets_go, is_spinning=given.spins)
    print(json.dumps(asdict(feed(given.archive, speed, given.devices, given.threads))))


if __name__ == "__main__":
    main()
