"""Settings of an evaluation, frozen and checked once. Light: the command line imports it."""

from dataclasses import dataclass, field
from pathlib import Path

from bsbatch.errors import UsageError

RESAMPLES = 2000
SENSITIVITY = 0.9


@dataclass(frozen=True, slots=True)
class Resampling:
    """How the bootstrap draws."""

    resamples: int = RESAMPLES
    """Times that the patients are drawn with replacement."""
    seed: int = 0
    """Seed of the draws: the same seed gives the same intervals."""

    def __post_init__(self) -> None:
        """Refuse values no evaluation could use."""
        if self.resamples < 1:
            raise UsageError("--resamples must be at least 1")
        if self.seed < 0:
            raise UsageError("--seed must not be negative")


@dataclass(frozen=True, slots=True)
class Restriction:
    """Which labelled studies take part; None takes all."""

    split: str | None = None
    centre: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How scores are read as decisions."""

    threshold: float | None = None
    """``p_metastasis`` from which on an examination counts as positive, in [0, 1]; None takes the run's own."""
    sensitivity: float = SENSITIVITY
    """Sensitivity that one of the operating points must reach, in (0, 1]."""
    prevalence: float | None = None
    """Share of positives for which PPV and NPV are stated, in (0, 1); None takes that of the sample."""

    def __post_init__(self) -> None:
        """Refuse values no evaluation could use."""
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise UsageError("--threshold must be in [0, 1]")
        if not 0.0 < self.sensitivity <= 1.0:
            raise UsageError("--sensitivity must be above 0 and at most 1")
        if self.prevalence is not None and not 0.0 < self.prevalence < 1.0:
            raise UsageError("--prevalence must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Everything ``bsbatch evaluate`` was told."""

    results: Path
    """Output folder of a run, or its ``results`` folder."""
    labels: Path
    """CSV file, see `bsbatch.evaluation.labels`."""
    out: Path
    """Folder for the report."""
    restriction: Restriction = field(default_factory=Restriction)
    reading: Reading = field(default_factory=Reading)
    resampling: Resampling = field(default_factory=Resampling)
    masks: Path | None = None
    """Folder of lesion masks, see `bsbatch.evaluation.masks`; None leaves heat maps out."""

    def __post_init__(self) -> None:
        """Refuse values no evaluation could use."""
        if self.masks is not None and not self.masks.is_dir():
            raise UsageError(
                f"--masks {self.masks} is no folder: name the one with <study_uid>_anterior.png, .nii.gz or .dcm"
            )
