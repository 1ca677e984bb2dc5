"""``bsbatch watch``: screen a folder on and on, as files come."""

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from watchfiles import watch as watch_files

from bsbatch.config import RunConfig
from bsbatch.dicom.silence import silence_pydicom
from bsbatch.errors import UsageError
from bsbatch.host.interruption import Interruption, handle_interrupts
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.run.metrics import Metrics, serve
from bsbatch.run.quiet import QuietSource
from bsbatch.run.report import Ending, Report, Reporter
from bsbatch.run.screen import Session, open_session

_TICK_SECONDS = 0.5
_IDLE_SECONDS = 60.0
"""Time between two listings without an event: network file systems report no changes by other machines."""
_LISTING_SHARE = 10
"""A listing is followed by this many times its own time without one."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Settings of ``bsbatch watch`` beside those of its runs."""

    quiet_seconds: float = 60.0
    """Time without a new or changed file after which a study is screened."""
    metrics_port: int | None = None
    """Port of the metrics on the loopback address; None for none."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.quiet_seconds > 0:
            raise UsageError("--settle must be above 0 seconds")


def watch(config: RunConfig, settings: Watch, reporter: Reporter) -> Report | None:
    """Screen what lies in a folder and what comes, until SIGINT or SIGTERM; return the report of the last run.

    Each run commits as ``bsbatch run`` does. A killed watch goes on with the same command, and so does ``bsbatch run``.

    Raises
    ------
    UsageError
        It cannot start with these settings.
    RunError
        A run stopped. Committed rows stay, and the same call continues.
    """
    folder = config.archive_path
    if folder is None or not folder.is_dir():
        raise UsageError(f"only a folder can be watched, not {config.archive}: bsbatch run screens it once")
    keep_freed_memory()
    with silence_pydicom(), open_session(config, reporter, is_watched=True) as session:
        quiet = QuietSource(session.setup.source, settings.quiet_seconds)
        metrics = Metrics(session.telemetry, lambda: quiet.waiting)
        watching = replace(session, setup=replace(session.setup, source=quiet), sinks=(metrics,))
        port = settings.metrics_port
        with nullcontext() if port is None else serve(metrics, port):
            reporter.remark(
                f"Watching {folder}; Ctrl-C ends it. A study waits for {settings.quiet_seconds:g} s without a new file."
            )
            # around all runs, which handle signals of their own while they execute: none falls between two of them
            with handle_interrupts(lambda: None) as interruption:
                return _go_on(watching, quiet, metrics, _arrivals(quiet, folder, interruption))


def _go_on(session: Session, quiet: QuietSource, metrics: Metrics, arrivals: Iterable[None]) -> Report | None:
    report: Report | None = None
    for _ in arrivals:
        metrics.queued = quiet.arrived
        report = session.run()
        metrics.queued = 0
        if report.ending is Ending.INTERRUPTED:
            break
        session.reporter.remark(f"{quiet.arrived} files arrived, {report.scored} examinations scored.")
        if report.scored:
            metrics.rate = report.scored / report.seconds
        session = replace(session, keeps_failures=True)
    return report


def _arrivals(quiet: QuietSource, folder: Path, interruption: Interruption) -> Iterator[None]:
    """Yield whenever objects have arrived; end after a signal."""
    is_changed, due = True, 0.0
    for has_changed in _changes(folder):
        is_changed, now = is_changed or has_changed, time.monotonic()
        if interruption.is_requested:
            return
        if now < due or not (is_changed or quiet.waiting or now > due + _IDLE_SECONDS):
            continue
        has_arrivals, is_changed = quiet.refresh(), False
        due = now + max(_TICK_SECONDS, _LISTING_SHARE * (time.monotonic() - now))
        if has_arrivals:
            yield


def _changes(folder: Path) -> Iterator[bool]:
    """Yield twice a second, True if something has changed; False where the system reports no changes."""
    milliseconds = int(1000 * _TICK_SECONDS)
    try:
        for changes in watch_files(
            folder, watch_filter=None, yield_on_timeout=True, rust_timeout=milliseconds, ignore_permission_denied=True
        ):
            yield bool(changes)
    except (OSError, RuntimeError):  # no inotify, or too few watches for all folders: listings find what comes
        while True:
            time.sleep(_TICK_SECONDS)
            yield False
