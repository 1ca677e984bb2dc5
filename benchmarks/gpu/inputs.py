"""A step of `make gpu`: the archives of the later steps, and for a quick try a thin model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from benchmarks.gpu.step import Setup, run_step
from benchmarks.kit import write_archive
from benchmarks.results import Line

from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import DEMO, GRAPH, Manifest, Model, sha256_of, write_manifest

_THINNER = 8
"""Factor on the channels of a thin model."""
_LARGER = 2
"""Factor on its kernels, without which all of its scores are the same."""


def measure(setup: Setup) -> Iterator[Line]:
    """Yield the sizes of the archives."""
    for archive, scans in ((setup.archive, setup.sizes.scans), (setup.failing_archive, setup.sizes.failing_scans)):
        write_archive(archive, scans)
        yield {"archive": archive.name, "scans": str(scans)}
    if setup.is_quick:
        _write_thin_model(setup.model_folder)
        yield {"model": "thin"}


def _write_thin_model(folder: Path) -> None:
    """Write the demo model with the first eighth of each layer's channels: another function, and 64 times as fast."""
    content = onnx.load(Model.load(Path(DEMO), VERSION).graph)
    graph = content.graph
    for items in (graph.node, graph.initializer):
        others = [item for item in items if not item.name.startswith(("cam/", "distance/"))]
        del items[:]
        items.extend(others)
    del graph.output[1:]
    for tensor in graph.initializer:
        if tensor.name.endswith(("/kernel", "/bias")):
            tensor.CopyFrom(_thin(tensor))
    folder.mkdir()
    onnx.save(content, folder / GRAPH)
    write_manifest(folder, Manifest({GRAPH: sha256_of(folder / GRAPH)}, VERSION, "thin"))


def _thin(tensor: Any) -> Any:
    array = onnx.numpy_helper.to_array(tensor)
    channels = array.shape if array.ndim <= 2 else array.shape[:2]  # noqa: PLR2004 - a dense layer
    slices = tuple(slice(size if size <= 2 else size // _THINNER) for size in channels)  # noqa: PLR2004 - two classes
    values = np.ascontiguousarray(array[slices]) * array.dtype.type(_LARGER if array.ndim > 1 else 1)
    return onnx.numpy_helper.from_array(values, tensor.name)


if __name__ == "__main__":
    run_step(measure)
