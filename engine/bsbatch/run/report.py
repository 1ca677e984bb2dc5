"""The report of a run: its progress while it works, and its result."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from bsbatch.host.threads import Pending
from bsbatch.run.forecast import Rate
from bsbatch.store.flow import Flow
from bsbatch.store.folder import PAGE, has_old_page

_MANY_UNLIKE = 0.1
"""Share of the scored examinations above which the run ends with a notice."""


class Ending(StrEnum):
    """The state of a run, as ``run.json`` records it."""

    COMPLETE = "complete"
    LIMITED = "limited"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    RUNNING = "running"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Counts of the workers of a cluster, as ``run.json`` has them under ``cluster``."""

    workers: int
    """Workers that took part."""
    lost: int
    refused: int
    again: int
    """Units done again."""
    dropped: int
    """Answers that came late or twice."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run."""

    ending: Ending
    flow: Flow
    seconds: float
    """Wall-clock time."""
    scored: int
    """Examinations scored by this run, not by earlier ones."""
    model_name: str | None
    rate: Rate | None = None
    """Of a plan: the measured rate of the backend that would score it, if there is one."""
    cluster: ClusterFacts | None = None
    """None without a cluster."""


class Reporter(Protocol):
    """Shows progress to the user; called from the main thread."""

    def start(self, total: "Pending[int]", done: int) -> None:
        """Begin, with the number of objects once it is counted, and the number that earlier runs settled."""
        ...

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """Count settled objects, scored and failed examinations; negative at an interruption, for what is not kept."""
        ...

    def show_workers(self, number: int) -> None:
        """Show how many workers of a cluster are at work from now on; not called without a cluster."""
        ...

    def remark(self, message: str) -> None:
        """Show a sentence that may interest the user; left out with ``--quiet``."""
        ...

    def note(self, message: str) -> None:
        """Show a sentence that the user should read."""
        ...


def note_bugs(flow: Flow, reporter: Reporter) -> None:
    """Show how many objects failed by a bug, if any: a row keeps the run going and must not hide it."""
    number = flow.internal_errors
    if number:
        files = f"{number} file{'s' if number > 1 else ''}"
        reporter.note(
            f"Internal errors: {files} failed by a bug in bsbatch (reason internal_error). Please report the messages "
            "in OUT/objects: they name lines of code and no patient. The same command tries these files again."
        )


def note_unlike(flow: Flow, reporter: Reporter) -> None:
    """Show that scores mean little, if more than a tenth of the scored examinations are unlike the training data."""
    if flow.unlike_share > _MANY_UNLIKE:
        reporter.note(
            f"{flow.unlike} of {flow.examinations['ok']} scored examinations are unlike everything that the model was "
            "trained on (flag unlike_training in OUT/results): do not trust their scores. Other cameras, tracers or "
            "patients need a model that was trained on them."
        )


def note_undrawn(bugs: Sequence[str], reporter: Reporter) -> None:
    """Show how many overlays are missing by a bug, if any, and the type and place of the first."""
    if bugs:
        images = f"{len(bugs)} overlay image{'s' if len(bugs) > 1 else ''}"
        reporter.note(
            f"Internal errors: {images} could not be drawn ({bugs[0]}); the rows are complete. Please report this "
            "line: it names no patient."
        )


def note_old_page(out: Path, reporter: Reporter) -> None:
    """Show that the page of an earlier run is out of date, if there is one."""
    if has_old_page(out):
        reporter.note(f"{out / PAGE} shows an earlier state of the tables: bsbatch report {out} writes it anew.")


class SilentReporter:
    """A reporter that shows nothing."""

    def start(self, total: "Pending[int]", done: int) -> None:
        """Do nothing."""

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """Do nothing."""

    def show_workers(self, number: int) -> None:
        """Do nothing."""

    def remark(self, message: str) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""
