"""What a run tells: while it is at work, and at its end."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bsbatch.host.threads import Pending
from bsbatch.store.flow import Flow


class Ending(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    LIMITED = "limited"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    RUNNING = "running"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run tells at its end."""

    ending: Ending
    flow: Flow
    seconds: float
    """Wall-clock."""
    scored: int
    """Examinations scored by this run, not by earlier ones."""
    model_name: str | None


class Reporter(Protocol):
    """Who tells the user; called from the main thread."""

    def start(self, total: "Pending[int]", done: int) -> None:
        """Objects to come, as soon as they are counted, and objects that earlier runs settled."""
        ...

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """So many objects are done with, and so many examinations scored or failed."""
        ...

    def remark(self, message: str) -> None:
        """Something the user may like to know; not told to who asked for quiet."""
        ...

    def note(self, message: str) -> None:
        """Something the user should know."""
        ...
