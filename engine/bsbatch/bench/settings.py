"""Settings of ``bsbatch bench``, frozen and checked once. Light: the command line imports it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bsbatch.config import BackendName, Cluster
from bsbatch.errors import UsageError

SYNTHETIC = 24
"""Examinations to synthesise if no archive is named."""


class StageName(StrEnum):
    """The stage to measure."""

    SKIM = "skim"
    """Files to verdicts: headers, views and pairing, no pixels."""
    INTAKE = "intake"
    """Files to arrays: skim, pixels and preprocessing, with a backend that does nothing."""
    INFER = "infer"
    """Arrays to probabilities: the bare backend."""
    ALL = "all"
    """Files to committed Parquet: a whole run, its backend already loaded."""


ITERATIONS = dict.fromkeys(StageName, 10) | {StageName.ALL: 3}
"""Fewest measured turns by default."""
NEED_BACKEND = frozenset({StageName.INFER, StageName.ALL})
"""Stages that infer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Duration of a measurement: trtexec's three numbers."""

    warmup: float = 2.0
    """Seconds of warm-up that are not counted, at least one turn."""
    duration: float = 3.0
    """Fewest measured seconds."""
    iterations: int | None = None
    """Fewest measured turns, however long they take; None for the stage's own number."""

    def __post_init__(self) -> None:
        """Refuse values that would measure nothing."""
        if not (self.warmup >= 0 and self.duration >= 0):
            raise UsageError("--warmup and --duration must not be negative")
        if self.iterations is not None and self.iterations < 1:
            raise UsageError("--iterations must be at least 1")


@dataclass(frozen=True, slots=True)
class Subject:
    """The archive to measure on: the user's, or a number of synthetic examinations."""

    archive: Path | None = None
    """Folder with DICOM files."""
    synthetic: int | None = None
    """Examinations to synthesise; `SYNTHETIC` if both are None."""

    def __post_init__(self) -> None:
        """Refuse two answers to one question."""
        if self.archive is not None and self.synthetic is not None:
            raise UsageError("name an archive or --synthetic, not both")
        if self.synthetic is not None and self.synthetic < 1:
            raise UsageError("--synthetic must be at least 1")


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """All settings of ``bsbatch bench``."""

    subject: Subject = Subject()
    model: Path | None = None
    """Model directory; None if nothing is inferred, and with the fake backend."""
    stage: StageName = StageName.ALL
    backend: BackendName = BackendName.AUTO
    null_sink: bool = False
    """Discard the rows instead of committing them; for `StageName.ALL` only."""
    batches: tuple[int, ...] = ()
    """Batch sizes, each measured separately; empty for the backend's own."""
    threads: int | None = None
    """Threads that read and infer; None for all allowed processors."""
    pace: Pace = Pace()
    cluster: Cluster | None = None
    """Workers on a cluster, for `StageName.ALL` only; None for this process."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be measured."""
        if any(batch < 1 for batch in self.batches):
            raise UsageError("--batch must be numbers from 1 on, for example 1,2,4,8")
        if self.threads is not None and self.threads < 1:
            raise UsageError("--threads must be at least 1")
        if self.null_sink and self.stage is not StageName.ALL:
            raise UsageError("--null-sink goes with --stage all: the other stages write nothing")
        self._check_cluster()
        self._check_backend()

    @property
    def iterations(self) -> int:
        """Fewest measured turns."""
        return self.pace.iterations or ITERATIONS[self.stage]

    def _check_cluster(self) -> None:
        if self.cluster is None:
            return
        if self.stage is not StageName.ALL:
            raise UsageError(
                f"--executor ray measures whole runs, --stage all: measure {self.stage} on a machine of the cluster, "
                "without --executor ray"
            )
        if self.null_sink:
            raise UsageError("--null-sink measures this machine: leave it out, or leave out --executor ray")

    def _check_backend(self) -> None:
        if self.stage not in NEED_BACKEND:
            if self.batches:
                raise UsageError(f"--batch goes with --stage infer or all: {self.stage} does not infer")
        elif self.model is None and self.backend is not BackendName.FAKE:
            raise UsageError("name a model: --model FOLDER (bsbatch-build export makes one)")
