"""The network of a training, from its folder or its file."""

from pathlib import Path
from typing import Any

from bsbatch.errors import ModelError
from bsbatch_build.network import weights
from bsbatch_build.network.network import NetworkSettings
from bsbatch_build.training.train import CONFIG, MODEL, read_training

_FULL = 1.0


def find_file(path: Path) -> Path:
    """Return ``model.keras`` of the folder of a training; the path itself if it is no folder.

    Raises
    ------
    ModelError
        The folder holds no training, or one that is not finished.
    """
    if not path.is_dir():
        return path
    if not (path / CONFIG).is_file():
        raise ModelError(f"{path} is no folder of bsbatch-build train: it has no {CONFIG}")
    if not (path / MODEL).is_file():
        raise ModelError(f"the training in {path} is not finished: the same bsbatch-build train goes on with it")
    return path / MODEL


def network_of(start: str, seed: int, width: float | None, *, is_whole: bool) -> NetworkSettings:
    """Settings of the network to export.

    Parameters
    ----------
    start
        ``random``, ``imagenet``, the folder of a training, or a file of weights.
    seed
        Seed of all random weights.
    width
        Factor on the channels; None for that of the training, else 1.
    is_whole
        True if the network is exported as it was trained, neither widened nor joined.

    Raises
    ------
    ModelError
        See `find_file`.
    """
    if start in (weights.RANDOM, weights.IMAGENET):
        return NetworkSettings(start, seed, _FULL if width is None else width)
    path = find_file(Path(start))
    if width is not None or not is_whole:
        return NetworkSettings(str(path), seed, _FULL if width is None else width)
    trained: Any = (read_training(path) or {}).get("network", {})
    return NetworkSettings(str(path), seed, trained.get("width", _FULL), trained.get("early_width"))
