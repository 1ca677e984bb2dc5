"""What ``bsbatch bench`` was told, frozen and checked once. Light: the command line imports it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bsbatch.config import BackendName
from bsbatch.errors import UsageError

SYNTHETIC = 24
"""Examinations that are made where no archive is named."""


class StageName(StrEnum):
    """What is measured."""

    SKIM = "skim"
    """Files to verdicts: headers, views and pairing, no pixels."""
    INTAKE = "intake"
    """Files to arrays: skim, pixels and preprocessing, with a backend that does nothing."""
    INFER = "infer"
    """Arrays to probabilities: the bare backend."""
    ALL = "all"
    """Files to committed Parquet: a whole run, its backend already loaded."""


ITERATIONS = dict.fromkeys(StageName, 10) | {StageName.ALL: 3}
"""Turns that are measured at least where nobody says how many."""
NEED_BACKEND = frozenset({StageName.INFER, StageName.ALL})
"""Stages that infer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure; trtexec's three numbers."""

    warmup: float = 2.0
    """Seconds that are run and not counted, at least one turn."""
    duration: float = 3.0
    """Seconds that are measured at least."""
    iterations: int | None = None
    """Turns that are measured at least, however long they take; None for the stage's own number."""

    def __post_init__(self) -> None:
        """Refuse values that would measure nothing."""
        if not (self.warmup >= 0 and self.duration >= 0):
            raise UsageError("--warmup and --duration must not be negative")
        if self.iterations is not None and self.iterations < 1:
            raise UsageError("--iterations must be at least 1")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured on: an archive or so many synthetic examinations."""

    archive: Path | None = None
    """Folder with DICOM files."""
    synthetic: int | None = None
    """Examinations to make; with neither, `SYNTHETIC`."""

    def __post_init__(self) -> None:
        """Refuse two answers to one question."""
        if self.archive is not None and self.synthetic is not None:
            raise UsageError("name an archive or --synthetic, not both")
        if self.synthetic is not None and self.synthetic < 1:
            raise UsageError("--synthetic must be at least 1")


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Everything ``bsbatch bench`` was told."""

    subject: Subject = Subject()
    model: Path | None = None
    """Model directory; None where nothing infers, and with the fake backend."""
    stage: StageName = StageName.ALL
    backend: BackendName = BackendName.AUTO
    null_sink: bool = False
    """Throw the rows away in place of committing them; of `StageName.ALL` only."""
    batches: tuple[int, ...] = ()
    """Batch sizes, each measured by itself; empty for the backend's own."""
    threads: int | None = None
    """Threads that read and infer; None for what is allowed."""
    pace: Pace = Pace()

    def __post_init__(self) -> None:
        """Refuse what could not be measured."""
        if any(batch < 1 for batch in self.batches):
            raise UsageError("--batch must be numbers from 1 on, for example 1,2,4,8")
        if self.threads is not None and self.threads < 1:
            raise UsageError("--threads must be at least 1")
        if self.null_sink and self.stage is not StageName.ALL:
            raise UsageError("--null-sink goes with --stage all: the other stages write nothing")
        self._check_backend()

    @property
    def iterations(self) -> int:
        """Turns that are measured at least."""
        return self.pace.iterations or ITERATIONS[self.stage]

    def _check_backend(self) -> None:
        if self.stage not in NEED_BACKEND:
            if self.batches:
                raise UsageError(f"--batch goes with --stage infer or all: {self.stage} does not infer")
        elif self.model is None and self.backend is not BackendName.FAKE:
            raise UsageError("say which model to use: --model FOLDER (bsbatch-build export makes one)")
