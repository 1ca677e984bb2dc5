"""OpenVINO with the throughput hint: a pool of pydicom threads feeds a queue of asynchronous requests."""

import numpy as np
import openvino
from benchmarks.peers.job import GRAPH, OUTPUT, Job, warm_up_images
from benchmarks.peers.reading import read_all

_SETTINGS = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}


def main() -> None:
    """Score the archive."""
    job = Job.from_arguments()
    core = openvino.Core()
    model = core.read_model(job.kit / GRAPH)
    model.reshape([1, 1, 512, 512])  # a fixed shape, one image per request: streams work in parallel
    queue = openvino.AsyncInferQueue(
        core.compile_model(model, "CPU", _SETTINGS | {"INFERENCE_NUM_THREADS": job.threads})
    )
    scores: dict[str, float] = {}

    def store_score(request: openvino.InferRequest, sop_uid: str) -> None:
        scores[sop_uid] = float(request.get_tensor(OUTPUT).data[0, 1])

    queue.set_callback(store_score)
    for _ in range(len(queue)):
        queue.start_async({0: warm_up_images(1)}, "")
    queue.wait_all()
    scores.clear()
    with job.stopwatch():
        for scan in read_all(job.files, job.threads):
            queue.start_async({0: scan.image[np.newaxis, np.newaxis]}, scan.sop_uid)
        queue.wait_all()
        job.write(scores)


if __name__ == "__main__":
    main()
