"""Progress and result of a training; light, because the command line shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Epoch:
    """A row of ``history.csv``."""

    epoch: int
    """From 1 on."""
    side: int
    """Rows and columns of the images or crops."""
    loss: float
    """Mean over the batches."""
    validation_auc: float
    """ROC AUC of the probability of metastasis."""
    lesion_auc: float
    """ROC AUC of the largest value of the lesion map; NaN without masks."""
    seconds: float


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a training."""

    out: Path
    history: tuple[Epoch, ...]
    studies: Mapping[str, Mapping[str, int]]
    """Set and centre -> class -> number of labelled studies."""


class Listener(Protocol):
    """Receives the progress of a training."""

    def on_read(self, examinations: int) -> None:
        """Receive the number of examinations of the archive that were read since the last call."""
        ...

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        """Receive the number of a finished batch, and the mean loss of the epoch so far."""
        ...

    def on_epoch(self, row: Epoch) -> None:
        """Receive a finished epoch, after it was saved."""
        ...
