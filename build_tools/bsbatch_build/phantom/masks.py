"""Lesion masks of both views."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bsbatch_build.phantom.anatomy import THICKNESS
from bsbatch_build.phantom.geometry import Stroke
from bsbatch_build.phantom.render import VIEWS, Optics, attenuation, fill

Mask = NDArray[np.uint8]
"""(rows, columns) uint8: 0 for background, else the number of the lesion."""

_VISIBLE = 0.35
"""A lesion is marked in a view that receives at least this share of the better view's photons."""

_HALF = 127


def lesion_masks(lesions: Sequence[Stroke], girth: float, optics: Optics) -> tuple[Mask, Mask]:
    """Return the masks of the anterior view and of the posterior view (as seen from behind)."""
    masks = np.zeros((len(VIEWS), optics.rows, optics.columns), np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        patch = fill(lesion.contour, optics)
        if patch is None:
            continue
        weights = attenuation(lesion, THICKNESS[lesion.location.segment] * girth)
        for mask, weight in zip(masks, weights, strict=True):
            if weight >= _VISIBLE * max(weights):
                mask[patch.rows, patch.columns][patch.cover > _HALF] = number
    return masks[0], np.ascontiguousarray(masks[1, :, ::-1])
