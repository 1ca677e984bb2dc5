"""Outputs of single images, stacked to those of a batch."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import BackendError
from bsbatch.geometry import OUTPUT_SHAPES
from bsbatch.records import Inference


def stack_outputs(rows: Sequence[Sequence[NDArray[np.float32]]], fields: Collection[str]) -> Inference:
    """Stack the outputs of the images of a batch, of which there may be none.

    Parameters
    ----------
    rows
        The outputs of each image.
    fields
        Names of the outputs, see `bsbatch.geometry.OUTPUT_SHAPES`.

    Raises
    ------
    BackendError
        An output has another shape than `OUTPUT_SHAPES`.
    """
    outputs = {}
    for index, name in enumerate(fields):
        shape = OUTPUT_SHAPES[name]
        values = [np.asarray(row[index], np.float32) for row in rows]
        for value in values:
            if value.shape != shape:
                raise BackendError(f"output {index + 1} of the model has the shape {value.shape} and not {shape}")
        outputs[name] = np.stack(values) if values else np.empty((0, *shape), np.float32)
    return Inference(**outputs)
