"""Settings of a report, frozen and checked once. Light: the command line imports it."""

from dataclasses import dataclass
from pathlib import Path

from bsbatch.errors import UsageError

FILE = "report.html"
GALLERY = 500


@dataclass(frozen=True, slots=True)
class ReportConfig:
    """Everything ``bsbatch report`` was told."""

    results: Path
    """Output folder of a run, or its ``results`` folder."""
    out: Path | None = None
    """The file to write; None takes ``report.html`` in the output folder."""
    labels: Path | None = None
    """CSV file, see `bsbatch.evaluation.labels`; None leaves the evaluation out."""
    masks: Path | None = None
    """Folder of lesion masks, see `bsbatch.evaluation.masks`; None leaves them out."""
    model: Path | None = None
    """Model directory that holds the model's card; None looks whether the model is the one that comes with bsbatch."""
    gallery: int = GALLERY
    """Overlays that are put into the page, the most probable first."""

    def __post_init__(self) -> None:
        """Refuse values no report could use."""
        if self.gallery < 0:
            raise UsageError("--gallery must not be negative")
        if self.masks is not None and self.labels is None:
            raise UsageError("--masks needs --labels: masks are looked at where a study is known to be positive")
