"""Input and output of every peer, and the measurement of its time.

The measured part is the body of `Job.stopwatch`: from the listing of the archive to the written Parquet. Imports,
loading the model and one warm-up batch come before it, as for bsbatch.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

GRAPH, KERAS, WEIGHTS = "model/model.onnx", "model.keras", "weights.npz"
"""Three forms of the same model, below the folder of a kit."""
ARCHIVE = "archive"
SCORES, TIMING = "scores", "timing.json"
"""Output of a peer in its folder: Parquet files, and its time."""
BATCH = 4
INPUT, OUTPUT = "image", "probabilities"
"""Names in the ONNX graph."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Job:
    """One run of a peer."""

    kit: Path
    """Folder with archive and model, made by `benchmarks.kit`."""
    out: Path
    """Empty folder for the scores."""
    threads: int
    """Processors that the peer may use."""

    @classmethod
    def from_arguments(cls) -> Self:
        """Parse the command line ``python -m benchmarks.peers.NAME KIT OUT THREADS``."""
        parser = argparse.ArgumentParser()
        parser.add_argument("kit", type=Path)
        parser.add_argument("out", type=Path)
        parser.add_argument("threads", type=int)
        return cls(**vars(parser.parse_args()))

    @property
    def files(self) -> list[Path]:
        """The objects of the archive, in the order of their paths."""
        return sorted(path for path in (self.kit / ARCHIVE).rglob("*") if path.is_file())

    @contextmanager
    def stopwatch(self, **notes: str) -> Iterator[None]:
        """Measure the body as the time of this peer; ``notes`` describe its choices."""
        started = time.perf_counter()
        yield
        self.report(time.perf_counter() - started, **notes)

    def report(self, seconds: float, **notes: str) -> None:
        """Write the time to the output folder."""
        content = {"seconds": seconds, "notes": notes}
        (self.out / TIMING).write_text(json.dumps(content), encoding="utf-8")

    def write(self, scores: Mapping[str, float]) -> None:
        """Write one row for each SOP Instance UID."""
        (self.out / SCORES).mkdir()
        columns = {"sop_uid": list(scores), "p_metastasis": pa.array(scores.values(), pa.float32())}
        pq.write_table(pa.table(columns), self.out / SCORES / "scores.parquet")


def warm_up_images(size: int = BATCH) -> NDArray[np.float32]:
    """Return noise, ``(size, 1, 512, 512)`` in [0, 1]."""
    return np.random.default_rng(0).random((size, 1, 512, 512), np.float32)


def in_batches(items: Iterable[Item], size: int = BATCH) -> Iterator[list[Item]]:
    """Split an iterable into lists of at most ``size`` items."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
