"""ONNX Runtime: a pool of pydicom threads feeds one session."""

import numpy as np
import onnxruntime
from benchmarks.peers.job import GRAPH, INPUT, OUTPUT, Job, in_batches, warm_up_images
from benchmarks.peers.reading import Scan, read_all


def main() -> None:
    """Score the archive."""
    job = Job.from_arguments()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(job.kit / GRAPH, options, providers=["CPUExecutionProvider"])
    session.run([OUTPUT], {INPUT: warm_up_images()})
    with job.stopwatch():
        scores: dict[str, float] = {}
        for batch in in_batches(read_all(job.files, job.threads)):
            scores |= _score(session, batch)
        job.write(scores)


def _score(session: onnxruntime.InferenceSession, batch: list[Scan]) -> dict[str, float]:
    images = np.stack([scan.image for scan in batch])[:, np.newaxis]
    (probabilities,) = session.run([OUTPUT], {INPUT: images})
    return {scan.sop_uid: float(pair[1]) for scan, pair in zip(batch, probabilities, strict=True)}


if __name__ == "__main__":
    main()
