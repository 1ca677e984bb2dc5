"""Progress of a run: a bar on a terminal, plain lines elsewhere, nothing with ``--quiet``."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from bsbatch.cli.terminal import printable
from bsbatch.host.threads import Pending
from bsbatch.run.forecast import duration

_LINE_SECONDS = 10.0


class _Tally:
    """Counts of a run, and the number of objects in the archive once it is known."""

    def __init__(self) -> None:
        self.objects = self.ok = self.failed = 0
        self.workers = ""
        """The number of workers in words; empty without a cluster."""
        self._done = 0
        self._total: Pending[int] | None = None
        self._started = time.monotonic()

    def start(self, total: "Pending[int]", done: int) -> None:
        """Start to count, from the number of objects that earlier runs settled."""
        self._total, self.objects, self._started = total, done, time.monotonic()
        self._done, self.ok, self.failed = done, 0, 0

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """Add settled objects, scored and failed examinations."""
        self.objects += objects
        self.ok += ok
        self.failed += failed

    def show_workers(self, number: int) -> None:
        """Keep the number of workers of a cluster."""
        self.workers = f"{number} worker{'' if number == 1 else 's'}"

    @property
    def total(self) -> int | None:
        """Objects in the archive; None until they are counted."""
        known = self._total is not None and self._total.done() and self._total.exception() is None
        return self._total.result() if self._total is not None and known else None

    @property
    def rate(self) -> float:
        """Examinations per second."""
        elapsed = time.monotonic() - self._started
        return (self.ok + self.failed) / elapsed if elapsed > 0 else 0.0

    @property
    def left(self) -> str:
        """The time left as words, by the share of the files; empty while it is unknown."""
        done = self.objects - self._done
        if self.total is None or done <= 0:
            return ""
        return f", {duration((time.monotonic() - self._started) * (self.total - self.objects) / done)} left"


class QuietReporter(_Tally):
    """Prints only notes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def remark(self, message: str) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Print the message."""
        self._console.print(printable(message), highlight=False, markup=False)


class LineReporter(QuietReporter):
    """Prints a line every ten seconds, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last = time.monotonic()

    def remark(self, message: str) -> None:
        """Print the message."""
        self.note(message)

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """Add to the counts; print them if the last line is ten seconds old."""
        super().advance(objects, ok, failed)
        if time.monotonic() - self._last >= _LINE_SECONDS:
            self._last = time.monotonic()
            total = f" of {self.total}" if self.total is not None else ""
            workers = f", {self.workers}" if self.workers else ""
            self._console.print(
                f"{self.objects}{total} files, {self.ok} scored, {self.failed} failed, {self.rate:.2f} scans/s"
                f"{workers}{self.left}",
                highlight=False,
                soft_wrap=True,
            )


class BarReporter(QuietReporter):
    """Draws a bar with rate, time left and counts, and the workers of a cluster."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(console)
        self._progress = progress
        self._task = progress.add_task("counting files", total=None, tally=self)

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """Add to the counts and move the bar."""
        super().advance(objects, ok, failed)
        words = f"{self.objects}/{self.total} files" if self.total is not None else f"{self.objects} files"
        self._progress.update(self._task, description=words, completed=self.objects, total=self.total)

    def remark(self, message: str) -> None:
        """Print the message above the bar."""
        self.note(message)

    def note(self, message: str) -> None:
        """Print the message above the bar."""
        self._progress.console.print(printable(message), highlight=False, markup=False)


class _Counts(ProgressColumn):
    """Counts by status, rate and workers, short enough for 80 columns."""

    def render(self, task: Task) -> Text:
        """Format the counts of one task."""
        tally: BarReporter = task.fields["tally"]
        text = Text.assemble((f"{tally.ok} scored", "green"), " ")
        if tally.failed:
            text.append(f"{tally.failed} failed ", "red")
        text.append(f"{tally.rate:.1f}/s", "cyan")
        return text.append(f" {tally.workers}") if tally.workers else text


@contextmanager
def reporter_for(console: Console, *, quiet: bool) -> Iterator[QuietReporter]:
    """Choose the reporter that suits the console."""
    if quiet:
        yield QuietReporter(console)
    elif not console.is_terminal:
        yield LineReporter(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            _Counts(Column(no_wrap=True)),  # the bar is what becomes shorter
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            yield BarReporter(console, progress)
