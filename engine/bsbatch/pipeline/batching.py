"""A stream of samples cut into batches for the backend."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from bsbatch.records import (
    Failure,
    Sample,
    Unit,
)

_UNITS_HELD_BACK = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece of the stream of examinations, their images put together for one call of the backend."""

    items: tuple[Sample | Failure | Unit, ...]
    """In their order; a unit marks its own end."""
    images: Any
    """What the backend takes of the samples among them, a list; None without one."""

    @classmethod
    def of(cls, items: Iterable[Sample | Failure | Unit]) -> Self:
        """Put the images of the samples together."""
        kept = tuple(items)
        images = [item.image for item in kept if isinstance(item, Sample)]
        return cls(kept, [i[np.newaxis] if isinstance(i, np.ndarray) else i for i in images] or None)


def batches(items: Iterable[Sample | Failure | Unit], size: int) -> Iterator[Batch]:
    """Cut a stream so that each piece holds ``size`` samples, whatever else lies between them.

    Only what would hold back two whole units is cut before, or one without a sample, or the first: its rows tell that
    all is well.
    """
    batch: list[Sample | Failure | Unit] = []
    samples, ends, most_ends = 0, 0, 1
    for item in items:
        batch.append(item)
        samples += isinstance(item, Sample)
        ends += isinstance(item, Unit)
        if samples == size or ends == most_ends or (ends and not samples):
            yield Batch.of(batch)
            batch, samples, ends, most_ends = [], 0, 0, _UNITS_HELD_BACK
    if batch:
        yield Batch.of(batch)
