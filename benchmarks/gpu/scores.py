"""A step of `make gpu`: scores of the whole backend against ONNX Runtime's in float32, under the gate of ``verify``."""

from collections.abc import Iterator

import numpy as np
from benchmarks.equality import DifferentResultsError
from benchmarks.gpu.machine import open_backend
from benchmarks.gpu.step import Setup, run_step
from benchmarks.results import Line

from bsbatch_build.checks.engine_check import score_golden_examinations
from bsbatch_build.checks.verify import compare_outputs, join


def measure(setup: Setup) -> Iterator[Line]:
    """Yield the differences of golden examinations, in batches of each size.

    Raises
    ------
    DifferentResultsError
        A difference is above the tolerance of float16, or a label flips.
    """
    is_right = True
    with open_backend(setup) as backend:
        golden = score_golden_examinations(setup.model)
        images = np.asarray(golden.images)
        for size in setup.sizes.slots:
            indices = np.arange(max(size, setup.sizes.examinations)) % len(images)
            batches = (indices[start : start + size] for start in range(0, len(indices), size))
            scores = join([backend.submit(images[batch]).result() for batch in batches])
            compared = compare_outputs(golden.reference.take(indices), "tensorrt", backend.precision, scores)
            is_right &= compared.is_within_tolerance
            yield {
                "images in a batch": str(size),
                "largest difference": f"{compared.difference:.1e}",
                "mean difference": f"{compared.mean_difference:.1e}",
                "largest of a distance": "-"
                if compared.distance_difference is None
                else f"{compared.distance_difference:.1e}",
                "largest allowed": f"{compared.tolerance:g}",
                "labels flipped": str(compared.flips),
            }
    if not is_right:
        raise DifferentResultsError("the scores are not those of ONNX Runtime")


if __name__ == "__main__":
    run_step(measure)
