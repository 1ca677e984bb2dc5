"""A step of `make gpu`: whole runs over real files, by the number of threads that read."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from benchmarks.gpu.machine import network_here
from benchmarks.gpu.step import Setup, run_step
from benchmarks.results import Line

from bsbatch.backends.tensorrt import TensorRtBackend
from bsbatch.config import BackendName, Effort, RunConfig
from bsbatch.cuda.ring import PARTS
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen


class _Watch:
    """Clocks from the first batch of a run to the last score; the test image before them does not count."""

    def __init__(self) -> None:
        self.backend: TensorRtBackend
        self.began = self.ended = self.processor = 0.0
        self.before: dict[str, float] = {}

    @contextmanager
    def look(self) -> Iterator[None]:
        """Note when batches are submitted and scored."""
        submit = TensorRtBackend.submit

        def submit_and_note(backend: TensorRtBackend, images: Any) -> Any:
            if not self.before:
                self.backend, self.before = backend, backend.device_seconds()
                self.began, self.processor = time.perf_counter(), time.process_time()
            result = submit(backend, images)
            result.add_done_callback(self._note_end)
            return result

        with patch.object(TensorRtBackend, "submit", submit_and_note):
            yield

    def _note_end(self, _: "Future[Any]") -> None:
        self.ended = time.perf_counter()

    def line(self, scans: int, processor: float) -> Line:
        """Summarise a run; shares are of its time, and overlap."""
        seconds, after = self.ended - self.began, self.backend.device_seconds()
        shares = {part: f"{(after[part] - self.before[part]) / seconds:.1%}" for part in PARTS}
        return {
            "scans": str(scans),
            "scans/s": scans / seconds,
            **shares,
            "processor ms a scan": 1000 * (processor - self.processor) / scans,
        }


def measure(setup: Setup) -> Iterator[Line]:
    """Yield one run for each number of threads."""
    with network_here(setup):
        for threads in setup.sizes.threads:
            watch, out = _Watch(), setup.folder / f"fed-by-{threads}"
            effort = Effort(threads, setup.sizes.batch)
            config = RunConfig(setup.archive, out, setup.model_folder, BackendName.TENSORRT, effort=effort)
            with watch.look():
                report = screen(config, SilentReporter())
                processor = time.process_time()
            yield {"threads": str(threads), **watch.line(report.scored, processor)}


if __name__ == "__main__":
    run_step(measure)
