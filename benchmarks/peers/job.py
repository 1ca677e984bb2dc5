"""What every peer is told, what it gives back, and what is counted of its time.

Counted is what stands inside `Job.counted`: from the listing of the archive to the written Parquet. Imports, loading
the model and one warm-up batch come before it, as they do for bsbatch.
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
"""The same model three times, below the folder of a kit."""
ARCHIVE = "archive"
SCORES, TIMING = "scores", "timing.json"
"""What a peer leaves in its output folder: Parquet files, and how long it took."""
BATCH = 4
INPUT, OUTPUT = "image", "probabilities"
"""Names in the ONNX graph."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Job:
    """One run of a peer."""

    kit: Path
    """Folder with archive and model, `benchmarks.kit`."""
    out: Path
    """Empty folder for the scores."""
    threads: int
    """Processors that it may use."""

    @classmethod
    def from_arguments(cls) -> Self:
        """``python -m benchmarks.peers.NAME KIT OUT THREADS``."""
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
    def counted(self, **notes: str) -> Iterator[None]:
        """What takes place inside is the time of this peer; ``notes`` say which of its forms it chose."""
        started = time.perf_counter()
        yield
        self.report(time.perf_counter() - started, **notes)

    def report(self, seconds: float, **notes: str) -> None:
        """Write down the time."""
        content = {"seconds": seconds, "notes": notes}
        (self.out / TIMING).write_text(json.dumps(content), encoding="utf-8")

    def write(self, scores: Mapping[str, float]) -> None:
        """Write one row for each SOP Instance UID."""
        (self.out / SCORES).mkdir()
        columns = {"sop_uid": list(scores), "p_metastasis": pa.array(scores.values(), pa.float32())}
        pq.write_table(pa.table(columns), self.out / SCORES / "scores.parquet")


def warm_up_images(size: int = BATCH) -> NDArray[np.float32]:
    """``(size, 1, 512, 512)`` in [0, 1], neither flat nor zero."""
    return np.random.default_rng(0).random((size, 1, 512, 512), np.float32)


def in_batches(items: Iterable[Item], size: int = BATCH) -> Iterator[list[Item]]:
    """Cut a stream into lists."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
