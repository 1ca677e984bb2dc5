"""pydicom and OpenCV: a file as the model's input. Written for the peers alone, it shares no code with bsbatch.

The peers' archive is uncompressed two-frame objects, anterior first, so a peer looks at nothing else.
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
    return Scan(str(dataset.SOPInstanceUID), np.hstack([_scaled(anterior), _scaled(posterior)]))


def read_all(files: Iterable[Path], threads: int) -> Iterator[Scan]:
    """Read in a pool of threads, in the order of the files."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(read, files)


def modalities(files: Iterable[Path], threads: int) -> list[str]:
    """(0008,0060) Modality of every file, headers only."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_modality, files))


def _modality(file: Path) -> str:
    return str(pydicom.dcmread(file, stop_before_pixels=True).Modality)


def _scaled(view: NDArray[np.float32]) -> NDArray[np.float32]:
    resized = cv2.resize(view, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
    low, high = resized.min(), resized.max()
    scaled: NDArray[np.float32] = (resized - low) / (high - low)
    return scaled
