"""Segments the body in both views of a model input by a threshold on its counts."""

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.geometry import CAM_COLUMNS, CAM_ROWS
from bsbatch.records import Body, Silhouette

_FINE = 4
"""The outline is computed at this multiple of the resolution of a heat map."""
_SOFT_TISSUE = 80.0
"""Percentile of a view that is soft tissue: the body fills at least a third of a scan, its hot spots a few per cent."""
_FAINT = 0.2
"""Threshold as a share of soft tissue: legs reach a half of it, the air around a patient a twentieth."""
_SPECKLE = 0.02
"""Share of a row or column that must be body for the extent of the body to include it."""


def body_of(image: NDArray[np.float32]) -> Body:
    """Segment the body in both views.

    Parameters
    ----------
    image
        ``(512, 512)`` in [0, 1]: anterior left, posterior right (`bsbatch.imaging.preprocess.compose`).
    """
    side = CAM_ROWS * _FINE
    small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    masks = [_mask(view) for view in np.hsplit(small, 2)]
    whole = np.hstack(masks).reshape(CAM_ROWS, _FINE, 2 * CAM_COLUMNS, _FINE)
    return Body(whole.mean(axis=(1, 3), dtype=np.float32), _silhouette(masks[0]), _silhouette(masks[1]))


def _mask(view: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(view > _FAINT * np.percentile(view, _SOFT_TISSUE))


def _silhouette(mask: NDArray[np.bool_]) -> Silhouette:
    """Extent of a mask, in cells; of the whole view if the mask is empty."""
    rows, columns = (np.flatnonzero(mask.mean(axis=axis) > _SPECKLE) for axis in (1, 0))
    if not rows.size or not columns.size:
        return Silhouette(0.0, mask.shape[0] / _FINE, mask.shape[1] / 2 / _FINE, mask.shape[1] / 2 / _FINE)
    midline = float(np.average(np.arange(mask.shape[1]) + 0.5, weights=mask.sum(axis=0)))
    half_width = max(midline - columns[0], columns[-1] + 1 - midline)
    return Silhouette(rows[0] / _FINE, (rows[-1] + 1) / _FINE, midline / _FINE, float(half_width) / _FINE)
