"""Objects of a bucket against s3fs, with a server of our own on loopback (`benchmarks.bucket`).

s3fs and the test servers of bsbatch need different versions of botocore, so s3fs has an environment of its own. ``make
bench`` makes it. By hand: ``python -m venv FOLDER; FOLDER/bin/pip install s3fs``, and S3FS_PYTHON=FOLDER/bin/python.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.bucket import BUCKET
from benchmarks.memory import peak_of
from benchmarks.pairing import measure_pairs
from benchmarks.processes import ROOT, ProcessFailedError
from benchmarks.results import Outcome, Row, Target, line_of
from benchmarks.setup import Setup

from bsbatch.dicom.headers.read import HEAD
from bsbatch.sources.object_store import ObjectStoreSource

SKIM, PROCESSOR, MEMORY = Target(8.0, "x", True), Target(0.2, "ms", False), Target(1.1, "x", False)
_PEER = Path(__file__).parent / "peers" / "s3fs_heads.py"


def object_store(setup: Setup) -> Outcome:
    """List a bucket and read the first 8 KiB of every object, 64 at once; memory by the number of objects."""
    peer, number, busy = os.environ.get("S3FS_PYTHON"), setup.sizes.bucket_objects, list[float]()
    if peer is None:
        raise SystemExit("s3fs needs an environment of its own: see benchmarks/object_store.py")
    small, large = setup.sizes.bucket_memory
    with _server() as url:
        _ours(number, [])  # to warm up, as the other side does
        pairs = measure_pairs(partial(_ours, number, busy), partial(_theirs, peer, url, number), setup.sizes.rounds)
        peaks = [[_peak(setup, objects) for objects in (small, large)] for _ in range(setup.sizes.pairs)]
    rows = [
        Row(
            "listing and first 8 KiB of the objects of a bucket against s3fs, 64 at once",
            SKIM,
            [p.ratio for p in pairs],
        ),
        Row(
            "the same, processor time of our client for each object", PROCESSOR, [1e3 * each / number for each in busy]
        ),
        Row(
            f"peak memory of a run over {large:,} objects of a bucket against {small:,}",
            MEMORY,
            [b / a for a, b in peaks],
        ),
    ]
    note = f"{number} objects (CT, MR, PET, CR, SR) on a server that answers at once, objects/s."
    return Outcome("object_store", rows, [line_of("s3fs", pairs)], [note])


@contextmanager
def _server() -> Iterator[str]:
    """Serve the bucket; the environment has its settings as long as the block lasts."""
    command = [sys.executable, "-m", "benchmarks.bucket"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        settings = {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        settings |= {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
        before = dict(os.environ)
        os.environ.update(settings)
        try:
            yield url
        finally:
            server.stdin.close()
            os.environ.clear()
            os.environ.update(before)


def _ours(number: int, busy: list[float]) -> float:
    source = ObjectStoreSource(f"s3://{BUCKET}/clutter/{number}")
    began, worked = time.perf_counter(), time.process_time()
    refs, size, read = list(source), source.heads_at_once, 0
    for start in range(0, number, size):
        read += sum(isinstance(head, bytes) for head in source.heads(refs[start : start + size], HEAD))
    busy.append(time.process_time() - worked)
    return _rate(read, number, time.perf_counter() - began)


def _theirs(python: str, url: str, number: int) -> float:
    command = [python, str(_PEER), url, f"{BUCKET}/clutter/{number}/"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailedError(f"s3fs ended with {done.returncode}:\n{done.stderr[-2000:]}")
    read, seconds, _ = map(float, done.stdout.split())
    return _rate(int(read), number, seconds)


def _rate(read: int, number: int, seconds: float) -> float:
    if read != number:
        raise ProcessFailedError(f"{read} of {number} objects were read")
    return read / seconds


def _peak(setup: Setup, objects: int) -> float:
    out = setup.runs / f"bucket-{objects}-{time.monotonic_ns()}"
    address = f"s3://{BUCKET}/tiny/{objects}"
    return peak_of(["run", address, "--backend", "fake", "--out", str(out), "--quiet"])
