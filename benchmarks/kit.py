"""Common archive and model of all sides: ``python -m benchmarks.kit FOLDER WIDTH`` makes the model.

The archive holds uncompressed two-frame objects of one dialect with phantom counts. The model has three forms: a model
directory of bsbatch, a Keras file, and plain arrays. It is made in a separate process, because that loads TensorFlow.
"""

import os
import sys
from pathlib import Path

import numpy as np
from benchmarks.peers.job import GRAPH, KERAS, WEIGHTS
from numpy.typing import NDArray
from tests.archives import Scan, dataset_of, write

from bsbatch_build.export.export import ExportSettings, export
from bsbatch_build.network.network import NetworkSettings
from bsbatch_build.network.weights import load
from bsbatch_build.phantom.plan import SetPlan, assign
from bsbatch_build.phantom.study import make_study
from bsbatch_build.toolchain import KerasModel

SEED = 1
_DIFFERENT = 24
"""Examinations with counts of their own; further ones repeat these counts under other UIDs."""


def main() -> None:
    """Make the model."""
    write_model(Path(sys.argv[1]), NetworkSettings(seed=SEED, width=float(sys.argv[2])))


def write_archive(archive: Path, scans: int) -> None:
    """Write ``scans`` two-frame objects of 1024 x 256, anterior first, to the disk: no run is beside the writing."""
    different = [_phantom(index) for index in range(min(scans, _DIFFERENT))]
    for number in range(scans):
        pixels = different[number % len(different)]
        scan = Scan(number, rows=pixels.shape[1], columns=pixels.shape[2])
        write(dataset_of(scan, pixels), archive / f"{number // 100:03d}" / f"{number:06d}.dcm")
    os.sync()


def write_model(folder: Path, settings: NetworkSettings) -> None:
    """Write one network as a model directory, a Keras file and arrays."""
    export(ExportSettings((folder / GRAPH).parent, settings))
    network = load(settings)
    network.save(folder / KERAS)
    np.savez(folder / WEIGHTS, allow_pickle=False, **_arrays(network))


def _phantom(index: int) -> NDArray[np.uint16]:
    study = make_study(assign(SetPlan(_DIFFERENT, SEED), index), np.random.SeedSequence([SEED, index]))
    return np.stack(study.views)


def _arrays(network: KerasModel) -> dict[str, NDArray[np.float32]]:
    """Return kernels and biases in order; the first kernel is summed over its three equal input channels."""
    weights = [np.asarray(weight) for weight in network.get_weights()]
    weights[0] = weights[0].sum(axis=2, keepdims=True)
    return {f"{number:03d}": weight for number, weight in enumerate(weights)}


if __name__ == "__main__":
    main()
