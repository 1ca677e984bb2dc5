"""Ray Data: binary files, ``map_batches`` with a class that holds an ONNX Runtime session, Parquet.

The time starts when the actor has loaded its session, because Ray starts the actor within the pipeline.
"""

import os
import time
from collections.abc import Mapping
from io import BytesIO

import numpy as np
import onnxruntime
import ray
from benchmarks.peers.job import ARCHIVE, BATCH, GRAPH, INPUT, OUTPUT, SCORES, Job, warm_up_images
from benchmarks.peers.reading import read
from numpy.typing import NDArray

_READY = "ready"

Columns = Mapping[str, NDArray[np.generic]]
"""Arrays by column name, one item for each examination."""


class Scorer:
    """An ONNX Runtime session; Ray creates one in an actor."""

    def __init__(self, graph: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._session.run([OUTPUT], {INPUT: warm_up_images()})
        self._ready = time.monotonic()  # one clock for all processes of a machine

    def __call__(self, batch: Columns) -> Columns:
        """Score a batch of images."""
        images = np.ascontiguousarray(batch["image"], np.float32)[:, np.newaxis]
        (probabilities,) = self._session.run([OUTPUT], {INPUT: images})
        ready = np.full(len(images), self._ready)
        return {"sop_uid": batch["sop_uid"], "p_metastasis": probabilities[:, 1], _READY: ready}


def decode(row: Mapping[str, bytes]) -> dict[str, str | NDArray[np.float32]]:
    """Read one object from its bytes."""
    scan = read(BytesIO(row["bytes"]))
    return {"sop_uid": scan.sop_uid, "image": scan.image}


def main() -> None:
    """Score the archive."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    job = Job.from_arguments()
    ray.init("local", num_cpus=job.threads, include_dashboard=False, log_to_driver=False, configure_logging=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    scores = (
        ray.data.read_binary_files(str(job.kit / ARCHIVE))
        .map(decode)
        .map_batches(
            Scorer,
            fn_constructor_args=[str(job.kit / GRAPH), job.threads],
            batch_size=BATCH,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
    )
    scores.write_parquet(str(job.out / SCORES))
    ended = time.monotonic()
    job.report(ended - ray.data.read_parquet(str(job.out / SCORES)).max(_READY))


if __name__ == "__main__":
    main()
