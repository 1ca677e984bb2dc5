"""Settings of an evaluation, frozen and checked once; light, because the command line imports it."""

from dataclasses import dataclass, field
from pathlib import Path

from bsbatch.cohort.settings import LabelTable
from bsbatch.errors import UsageError
from bsbatch.requirements import require

RESAMPLES = 2000
SENSITIVITY = 0.9
WIDTH = 0.1
OWN_GROUPS = ("centre", "lesions", "sex", "age")
"""Columns of the label file that form subgroups wherever they are filled."""
_NO_GROUPS = ("study_uid", "patient_id", "label", "manufacturer", "unlike_training")
"""Columns that form no subgroups, and names of those that results form."""
PACKAGES = ("sklearn", "vl_convert")
"""Import names of the packages of the extra ``evaluate``."""


def require_packages() -> None:
    """Raise MissingPackageError, with the install line, if a package of the extra ``evaluate`` is not installed."""
    for package in PACKAGES:
        require(package, extra="evaluate")


@dataclass(frozen=True, slots=True)
class Resampling:
    """Draws of the bootstrap."""

    resamples: int = RESAMPLES
    """Number of times that the patients are drawn with replacement."""
    seed: int = 0
    """Seed of the draws: the same seed gives the same intervals."""

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        if self.resamples < 1:
            raise UsageError("--resamples must be at least 1")
        if self.seed < 0:
            raise UsageError("--seed must not be negative")


@dataclass(frozen=True, slots=True)
class Restriction:
    """Selection of labelled studies; None selects all."""

    split: str | None = None
    centre: str | None = None


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """Thresholds that turn scores into decisions, and the prevalence at which decisions are valued."""

    threshold: float | None = None
    """Smallest ``p_metastasis`` that counts as positive, in [0, 1]; None uses the run's threshold."""
    sensitivity: float = SENSITIVITY
    """Sensitivity that one of the operating points must reach, in (0, 1]."""
    prevalence: float | None = None
    """Share of positives to which the sample is re-weighted, in (0, 1); None leaves it as it is."""
    width: float = WIDTH
    """Wanted width of the intervals for which sample sizes are computed, in (0, 1)."""

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise UsageError("--threshold must be in [0, 1]")
        if not 0.0 < self.sensitivity <= 1.0:
            raise UsageError("--sensitivity must be above 0 and at most 1")
        if self.prevalence is not None and not 0.0 < self.prevalence < 1.0:
            raise UsageError("--prevalence must lie between 0 and 1")
        if not 0.0 < self.width < 1.0:
            raise UsageError("--width must lie between 0 and 1")


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Configuration of ``bsbatch evaluate``."""

    results: Path
    """Output folder of a run, or its ``results`` folder."""
    labels: Path
    """CSV file, see `bsbatch.evaluation.labels`; any table with `table`."""
    out: Path
    """Folder of the report."""
    restriction: Restriction = field(default_factory=Restriction)
    decisions: DecisionSettings = field(default_factory=DecisionSettings)
    resampling: Resampling = field(default_factory=Resampling)
    masks: Path | None = None
    """Folder of lesion masks, see `bsbatch.evaluation.masks`; None leaves out the comparison with heat maps."""
    by: tuple[str, ...] = ()
    """Further columns of the label file that form subgroups."""
    rival: Path | None = None
    """Results of another model on the same examinations, as `results`; None compares with no other."""
    table: LabelTable | None = None
    """How `labels` is joined with the results, if it is a table of another form."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the label file in `by` that form no subgroups of their own accord."""
        return tuple(name for name in dict.fromkeys(self.by) if name not in OWN_GROUPS)

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        for name in self.by:
            if name in _NO_GROUPS:
                raise UsageError(f"--by {name}: this column forms no subgroups")
        if self.masks is not None and not self.masks.is_dir():
            raise UsageError(
                f"--masks {self.masks} is no folder: name the folder with <study_uid>_anterior.png, .nii.gz or .dcm"
            )
