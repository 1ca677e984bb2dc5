"""Outputs of single images, stacked to those of a batch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import BackendError
from bsbatch.geometry import CAM_SHAPE
from bsbatch.records import Inference

SHAPES = (2,), CAM_SHAPE
"""Shape of the probabilities of one image, and of its heat map."""


def stack_outputs(rows: Sequence[Sequence[NDArray[np.float32]]], number: int) -> Inference:
    """Stack the outputs of the images of a batch, of which there may be none.

    Parameters
    ----------
    rows
        Of each image its probabilities, and its heat map if there is one.
    number
        Outputs of one image: 1, or 2 with heat maps.

    Raises
    ------
    BackendError
        An output has another shape than `SHAPES`.
    """
    outputs = []
    for index, shape in enumerate(SHAPES[:number]):
        values = [np.asarray(row[index], np.float32) for row in rows]
        for value in values:
            if value.shape != shape:
                raise BackendError(f"output {index + 1} of the model has the shape {value.shape} and not {shape}")
        outputs.append(np.stack(values) if values else np.empty((0, *shape), np.float32))
    return Inference(*outputs)
