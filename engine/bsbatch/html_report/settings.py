"""Settings of a report, frozen and checked once; light, because the command line imports it."""

from dataclasses import dataclass
from pathlib import Path

from bsbatch.cohort.settings import LabelTable
from bsbatch.errors import UsageError
from bsbatch.requirements import require

GALLERY = 500
PACKAGES = ("jinja2", "vl_convert")
"""Import names of the packages of the extra ``report``."""


def require_packages() -> None:
    """Raise MissingPackageError, with the install line, if a package of the extra ``report`` is not installed."""
    for package in PACKAGES:
        require(package, extra="report")


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """Configuration of ``bsbatch report``."""

    results: Path
    """Output folder of a run, or its ``results`` folder."""
    out: Path | None = None
    """File to write; None writes ``report.html`` into the output folder."""
    labels: Path | None = None
    """CSV file, see `bsbatch.evaluation.labels`, or any table with `table`; None leaves out the evaluation."""
    masks: Path | None = None
    """Folder of lesion masks, see `bsbatch.evaluation.masks`; None leaves out the comparison with heat maps."""
    model: Path | None = None
    """Model directory with the model's card; None uses the card of the demo model if the run used that."""
    gallery: int = GALLERY
    """Number of overlays in the page, highest scores first."""
    table: LabelTable | None = None
    """How `labels` is joined with the results, if it is a table of another form."""

    def __post_init__(self) -> None:
        """Raise UsageError for values that cannot be used."""
        if self.gallery < 0:
            raise UsageError("--gallery must not be negative")
        if self.masks is not None and self.labels is None:
            raise UsageError("--masks needs --labels: masks are compared for studies with a positive label")
