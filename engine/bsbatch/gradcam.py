"""Grad-CAM (Selvaraju et al., ICCV 2017): what a backend gives for an image, as a heat map of the predicted class.

A backend's map is signed, because with two classes what speaks for one speaks as much against the other. Which class an
examination is predicted to be is known only here, where the threshold of the run is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import CamMode
from bsbatch.records import HeatMap


@dataclass(frozen=True, slots=True)
class Explainer:
    """Makes the heat maps that a run was asked for."""

    mode: CamMode
    threshold: float
    """``p_metastasis`` from which on an examination is predicted positive, in [0, 1]."""

    def explain(self, p_metastasis: float, cam: NDArray[np.float32] | None) -> HeatMap | None:
        """Give the map of an examination, if it shall have one.

        Parameters
        ----------
        p_metastasis
            In [0, 1].
        cam
            ``(32, 32)``, above 0 where the model finds metastasis; None where nobody asked.
        """
        is_positive = p_metastasis >= self.threshold
        if cam is None or self.mode is CamMode.NONE or (self.mode is CamMode.POSITIVE and not is_positive):
            return None
        return heat_map(cam, is_positive=is_positive)


NO_MAPS = Explainer(CamMode.NONE, threshold=0.5)


def heat_map(cam: NDArray[np.float32], *, is_positive: bool) -> HeatMap:
    """Keep what speaks for one class and scale it to [0, 1]; what is no number counts as nothing."""
    evidence = np.maximum(np.nan_to_num(cam if is_positive else -cam, posinf=0.0), 0).astype(np.float32)
    strength = float(evidence.max())
    return HeatMap(evidence / np.float32(strength) if strength > 0 else evidence, strength)
