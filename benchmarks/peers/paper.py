"""The paper's method: pydicom into one array of three equal channels, then Keras ``predict``."""

import os

import numpy as np
from benchmarks.peers.job import BATCH, KERAS, Job, warm_up_images
from benchmarks.peers.reading import read


def main() -> None:
    """Score the archive."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras  # noqa: PLC0415 - TensorFlow reads these variables at import

    job = Job.from_arguments()
    model = keras.saving.load_model(job.kit / KERAS)
    model.predict(np.repeat(np.moveaxis(warm_up_images(), 1, 3), 3, axis=3), verbose=0)
    with job.stopwatch():
        scans = [read(file) for file in job.files]
        images = np.repeat(np.stack([scan.image for scan in scans])[..., np.newaxis], 3, axis=3)
        probabilities = model.predict(images, batch_size=BATCH, verbose=0)
        job.write({scan.sop_uid: float(pair[1]) for scan, pair in zip(scans, probabilities, strict=True)})


if __name__ == "__main__":
    main()
