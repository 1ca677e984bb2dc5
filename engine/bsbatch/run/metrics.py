"""Counts of a process that screens on and on, for Prometheus."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bsbatch.errors import UsageError
from bsbatch.reasons import Status
from bsbatch.records import Failure, UnitOutcome
from bsbatch.store.tables import OK
from bsbatch.telemetry import Telemetry

_ADDRESS = "127.0.0.1"
"""The metrics are for this machine; a proxy with authentication can show them to others."""


class Metrics:
    """A sink that counts the rows of committed units, and a collector of `prometheus_client`.

    Metrics follow Prometheus' conventions: counters begin at zero with the process and end with ``_total``, units are
    seconds.
    """

    def __init__(self, telemetry: Telemetry, waiting: Callable[[], int]) -> None:
        """Count nothing yet.

        Parameters
        ----------
        waiting
            Returns the number of objects whose studies are not quiet.
        """
        self._telemetry, self._waiting = telemetry, waiting
        self._objects, self._examinations = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        self._last_commit = 0.0
        self.queued = 0
        """Objects of the present run that have no row yet."""
        self.rate = 0.0
        """Scores a second of the last run that scored."""

    def commit(self, outcome: UnitOutcome) -> None:
        """Count a unit."""
        for item in outcome.settled:
            self._objects[item.verdict.status, item.verdict.reason] += 1
        for done in outcome.outcomes:
            failure = done.verdict.reason if isinstance(done, Failure) else ""
            self._examinations[Status.FAILED if failure else OK, failure] += 1
            self._objects[Status.FAILED if failure else Status.USED, failure] += len(done.exam.scans)
        self.queued -= len(outcome.settled) + sum(len(done.exam.scans) for done in outcome.outcomes)
        self._last_commit = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield _counter("objects", "Objects with a row", ("status", "reason"), self._objects)
        yield _counter("examinations", "Examinations with a row", ("status", "reason"), self._examinations)
        seconds: dict[tuple[str, ...], float] = {
            (stage,): found["seconds"] for stage, found in self._telemetry.report().items()
        }
        yield _counter("stage_seconds", "Busy seconds of all threads", ("stage",), seconds)
        queues = GaugeMetricFamily("bsbatch_queue_objects", "Objects without a row", labels=("queue",))
        queues.add_metric(["arriving"], self._waiting())
        queues.add_metric(["arrived"], max(0, self.queued))
        yield queues
        yield GaugeMetricFamily("bsbatch_scores_per_second", "Rate of the last run that scored", self.rate)
        yield GaugeMetricFamily("bsbatch_last_commit_timestamp_seconds", "Unix time of it, 0 before", self._last_commit)


@contextmanager
def serve(metrics: Metrics, port: int) -> Iterator[None]:
    """Serve metrics over HTTP on the loopback address, as long as the block lasts.

    Raises
    ------
    UsageError
        The port cannot be used.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, _ADDRESS, registry)
    except OSError as error:
        raise UsageError(f"--metrics-port {port} cannot be used: {error.strerror}. Choose another one") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _counter(name: str, words: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(f"bsbatch_{name}", words, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(list(map(str, values)), count)
    return family
