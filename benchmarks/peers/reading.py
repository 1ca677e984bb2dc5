"""Read files as the model's input with pydicom and OpenCV; shares no code with bsbatch.

The peers' archive holds only uncompressed two-frame objects, anterior first, so no header is checked.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray

_ROWS, _COLUMNS = 512, 256


@dataclass(frozen=True, slots=True)
class Scan:
    """One examination."""

    sop_uid: str
    image: NDArray[np.float32]
    """``(512, 512)`` in [0, 1]."""


def read(file: Path | BytesIO) -> Scan:
    """Read and preprocess one object."""
    dataset = pydicom.dcmread(file)
    anterior, posterior = dataset.pixel_array.astype(np.float32)
    return Scan(str(dataset.SOPInstanceUID), np.hstack([_scale(anterior), _scale(posterior)]))


def read_all(files: Iterable[Path], threads: int) -> Iterator[Scan]:
    """Read files in a pool of threads, in their order."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(read, files)


def modalities(files: Iterable[Path], threads: int) -> list[str]:
    """Read (0008,0060) Modality of every file, headers only."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_modality, files))


def _modality(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True).Modality)


def _scale(view: NDArray[np.float32]) -> NDArray[np.float32]:
    resized = cv2.resize(view, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    low, high = resized.min(), resized.max()
    scaled: NDArray[np.float32] = (resized - low) / (high - low)
    return scaled
