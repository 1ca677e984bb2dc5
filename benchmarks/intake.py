"""Files to arrays, and files turned down, against pydicom in threads: ``python -m benchmarks.intake [scans] [others]``.

Peers do what most scripts do: ``pydicom.dcmread`` and OpenCV in a thread pool, and
``dcmread(stop_before_pixels=True)``; they run in this process and so with the same settings of the allocator. What
they give is held against what bsbatch gives before anything is timed. Runs are paired, A B A B; a ratio is that of the
medians of wall-clock time, and the processor time stands beside it. Goals: 8 for the arrays, of which two threads make
1.8 times as many as one, and 15 for what is turned down.
"""

import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from bsbatch.allocation import keep_freed_memory
from bsbatch.backends.fake import FakeBackend
from bsbatch.catalog import Catalog
from bsbatch.concurrency import ordered_map, prefetch
from bsbatch.config import Effort, Selection
from bsbatch.isolation import Isolation
from bsbatch.pipeline import Intake, Screening
from bsbatch.preprocess import compose
from bsbatch.records import Examination
from bsbatch.sources.directory import DirectorySource
from bsbatch.telemetry import Telemetry
from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan

ROUNDS = 5
DISTINCT = 40
OTHERS = ("CT_small.dcm", "MR_small.dcm")
GOALS = {"arrays": 8.0, "threads": 1.8, "skim": 15.0}

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one pass over a set of files."""

    wall: float
    processor: float


def main() -> None:
    """Write the files, compare the results, time both, print ratios."""
    warnings.simplefilter("ignore")
    keep_freed_memory()
    scans, others = (int(argument) for argument in (*sys.argv[1:3], "400", "4000")[:2])
    with tempfile.TemporaryDirectory() as folder:
        compare_arrays(Path(folder) / "scans", scans)
        compare_skims(Path(folder) / "others", others)


def compare_arrays(folder: Path, number: int) -> None:
    """Uncompressed two-frame objects to ``(512, 512)`` arrays."""
    paths = write_scans(folder, number)
    images = dict(arrays(folder, image_of, 2))
    assert sorted(images) == sorted(path.relative_to(folder).as_posix() for path in paths)
    for path in paths[:DISTINCT]:
        np.testing.assert_array_equal(images[path.relative_to(folder).as_posix()], by_pydicom(path))
    passes: dict[str, Callable[[], None]] = {
        "pydicom + OpenCV, 2 threads": lambda: in_pool(by_pydicom, paths),
        "bsbatch, 1 thread": lambda: drain(arrays(folder, image_of, 1)),
        "bsbatch, 2 threads": lambda: drain(arrays(folder, image_of, 2)),
        "bsbatch with quality figures, 2 threads": lambda: drain(arrays(folder, sample_of, 2)),
    }
    peer, one, two, _ = report("two-frame objects to arrays, listing and pairing included", passes, number)
    tell("two threads against pydicom + OpenCV", peer.wall / two.wall, GOALS["arrays"])
    tell("two threads against one", one.wall / two.wall, GOALS["threads"])


def compare_skims(folder: Path, number: int) -> None:
    """CT and MR images to the decision that they are no bone scans."""
    paths = write_others(folder, number)
    turned_down = [item for unit in intake(folder, 2).units(number, None) for item in unit.settled]
    assert [folder / item.ref.source for item in turned_down] == paths
    for item, path in list(zip(turned_down, paths, strict=True))[:DISTINCT]:
        assert item.header is not None
        assert item.header.modality == modality_of(path)
    passes: dict[str, Callable[[], None]] = {
        "dcmread(stop_before_pixels=True), 2 threads": lambda: in_pool(modality_of, paths),
        "bsbatch, 1 thread": lambda: drain(intake(folder, 1).units(number, None)),
        "bsbatch, 2 threads": lambda: drain(intake(folder, 2).units(number, None)),
    }
    peer, _, two = report("CT and MR images turned down, listing included", passes, number)
    tell("two threads against dcmread", peer.wall / two.wall, GOALS["skim"])


def arrays(folder: Path, make: Callable[[Screening, Examination], Any], threads: int) -> Iterator[tuple[str, Any]]:
    """The examinations of an archive by the place of their object, as a run comes by them."""
    backend = FakeBackend(None, Effort())
    made = Screening(DirectorySource(folder), backend, Telemetry(), Isolation(), threads, 1, lambda _outcomes: None)
    units = intake(folder, threads).units(64, None)
    exams = (exam for unit in (prefetch(units, 1) if threads > 1 else units) for exam in unit.exams)
    yield from ordered_map(lambda exam: (exam.scans[0].ref.source, make(made, exam)), exams, threads)


def image_of(screening: Screening, exam: Examination) -> Image:
    """``(512, 512)`` in [0, 1]."""
    assert exam.anterior is not None
    assert exam.posterior is not None
    anterior, posterior = screening._read_both(exam.anterior, exam.posterior)
    return compose(anterior.values, posterior.values)


def sample_of(screening: Screening, exam: Examination) -> Any:
    """The same with the quality figures and the hash of the pixels."""
    return screening._sample(exam)


def intake(folder: Path, threads: int) -> Intake:
    """The first half of a run that has no rows yet."""
    return Intake(DirectorySource(folder), Selection(), Catalog(), None, Telemetry(), threads)


def by_pydicom(path: Path) -> Image:
    """The peer: views by Start Angle or label, resized and scaled as the paper says."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array.astype(np.float32)
    is_reversed = is_posterior(dataset)
    views = (frames[1], frames[0]) if is_reversed else (frames[0], frames[1])
    return np.hstack([scaled(view) for view in views])


def is_posterior(dataset: Any) -> bool:
    """Whether the first frame is the posterior one."""
    detector = dataset.DetectorInformationSequence[0]
    return bool("StartAngle" in detector and float(detector.StartAngle) % 360 == 0)


def scaled(view: Image) -> Image:
    """One half of the image."""
    shrinks = view.shape[0] >= 512 and view.shape[1] >= 256  # noqa: PLR2004 - the model's view
    resized = cv2.resize(view, (256, 512), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray((resized - resized.min()) / (resized.max() - resized.min()), np.float32)


def modality_of(path: Path) -> str:
    """The peer of the skim."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).Modality)


def write_scans(folder: Path, number: int) -> list[Path]:
    """Uncompressed two-frame phantoms whose detectors carry a Start Angle, each under a study of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        write_set(Path(scratch) / "set", SetPlan(studies=3 * DISTINCT, seed=1, clutter=False))
        files = sorted(path for path in (Path(scratch) / "set" / "archive").rglob("*") if path.is_file())
        kept = [path for path in files if is_common(pydicom.dcmread(path, stop_before_pixels=True))][:DISTINCT]
        studies = [str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID).encode() for path in kept]
        objects = [path.read_bytes() for path in kept]
    renamed = (
        objects[index % DISTINCT].replace(
            studies[index % DISTINCT], b"%s%06d" % (studies[index % DISTINCT][:-6], index)
        )
        for index in range(number)
    )
    return write_all(renamed, folder)


def is_common(dataset: Any) -> bool:
    """Whether it is of the kind that the goal is about."""
    is_plain = dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian and dataset.BitsAllocated == 16  # noqa: PLR2004
    return bool(is_plain and dataset.NumberOfFrames == 2 and "StartAngle" in dataset.DetectorInformationSequence[0])  # noqa: PLR2004


def write_others(folder: Path, number: int) -> list[Path]:
    """Real CT and MR images out of pydicom's own test files, over and over."""
    objects = [Path(str(get_testdata_file(name, download=False))).read_bytes() for name in OTHERS]
    return write_all((objects[index % len(OTHERS)] for index in range(number)), folder)


def write_all(objects: Iterable[bytes], folder: Path) -> list[Path]:
    """Write objects, a thousand in each folder."""
    paths = []
    for index, data in enumerate(objects):
        path = folder / f"{index // 1000:03d}" / f"{index:06d}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    return paths


def in_pool(function: Callable[[Path], Any], paths: list[Path]) -> None:
    """The peers' threads."""
    with ThreadPoolExecutor(2) as pool:
        drain(pool.map(function, paths))


def drain(items: Iterable[Any]) -> None:
    """Run to the end."""
    for _ in items:
        pass


def report(title: str, passes: dict[str, Callable[[], None]], files: int) -> list[Cost]:
    """Time each in turn, round after round, and print medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in passes}
    for one_pass in passes.values():
        one_pass()  # warm: files in memory, code loaded
    for _ in range(ROUNDS):
        for name, one_pass in passes.items():
            costs[name].append(timed(one_pass))
    print(f"{title}: {files} files, {os.cpu_count()} processors, median of {ROUNDS}")
    medians = [
        Cost(statistics.median(cost.wall for cost in each), statistics.median(cost.processor for cost in each))
        for each in costs.values()
    ]
    for name, cost in zip(passes, medians, strict=True):
        print(f"  {name:45} {files / cost.wall:9.0f} files/s {1e6 * cost.processor / files:8.0f} us of a processor")
    return medians


def timed(one_pass: Callable[[], None]) -> Cost:
    """What one pass takes."""
    wall, processor = time.perf_counter(), time.process_time()
    one_pass()
    return Cost(time.perf_counter() - wall, time.process_time() - processor)


def tell(what: str, ratio: float, goal: float) -> None:
    """One line with a verdict."""
    print(f"  {what}: {ratio:.2f} (goal {goal:g}: {'met' if ratio >= goal else 'missed'})")


if __name__ == "__main__":
    main()
