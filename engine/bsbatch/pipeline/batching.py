"""A stream of prepared examinations, cut into batches for the backend."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from bsbatch.protocols import Images
from bsbatch.records import Failure, PinnedImage, PreparedExam, Unit

Item = PreparedExam | Failure | Unit
"""A prepared examination, or the unit that ends behind its last one."""
_UNITS_HELD_BACK = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece of the stream, its images put together for one call of the backend."""

    items: tuple[Item, ...]
    """In the order of the stream."""
    images: Images | None
    """Images of the prepared examinations among the items; None if there is none."""

    @classmethod
    def of(cls, items: Iterable[Item]) -> Self:
        """Put the images of the prepared examinations together."""
        piece = tuple(items)
        images = [_batchable(item.image) for item in piece if isinstance(item, PreparedExam)]
        # pinned images and float16 are made only for a backend that lends or takes them, and that one accepts them
        return cls(piece, cast("Sequence[NDArray[np.float32]]", images) if images else None)


def batches(pieces: Iterable[Sequence[Item]], size: int) -> Iterator[Batch]:
    """Cut a stream so that each batch holds ``size`` images.

    A batch is cut earlier if it would hold back two whole units, if it ends a unit without an image, and at the end of
    the first unit: the first rows are committed soon and show that all is well. Items without an image go with the
    images before them, as far as they are of the same piece: a batch of theirs would take the turn of a full one.

    Parameters
    ----------
    pieces
        The stream as it is prepared: the end of a unit is in one piece with the last examination of the unit.
    size
        Images in a batch.
    """
    batch: list[Item] = []
    count, ends, most_ends = 0, 0, 1
    for item, following in chain.from_iterable(map(_with_following, pieces)):
        batch.append(item)
        count += isinstance(item, PreparedExam)
        ends += isinstance(item, Unit)
        is_cut = count == size or ends == most_ends or (ends and not count)
        if is_cut and (following is None or isinstance(following, PreparedExam)):
            yield Batch.of(batch)
            batch, count, ends, most_ends = [], 0, 0, _UNITS_HELD_BACK
    if batch:
        yield Batch.of(batch)


def _with_following(piece: Sequence[Item]) -> Iterator[tuple[Item, Item | None]]:
    return zip(piece, (*piece[1:], None), strict=True)


def _batchable(
    image: NDArray[np.float32] | NDArray[np.float16] | PinnedImage,
) -> NDArray[np.float32] | NDArray[np.float16] | PinnedImage:
    return image if isinstance(image, PinnedImage) else image[np.newaxis]
