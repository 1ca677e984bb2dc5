"""Files to arrays, and files to reasons, against pydicom and OpenCV in threads; both sides in this process."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks.clutter import write_clutter
from benchmarks.equality import DifferentResultsError, assert_same_arrays, assert_same_verdicts
from benchmarks.kit import write_archive
from benchmarks.pairing import measure_pairs
from benchmarks.peers.reading import modalities, read_all
from benchmarks.results import Outcome, Row, Target, line_of, profile
from benchmarks.setup import Setup
from numpy.typing import NDArray

from bsbatch.bench.stages import list_verdicts, load_images, open_setup, time_intake, time_skim
from bsbatch.config import Effort
from bsbatch.dicom.headers.read import HEAD, header_in
from bsbatch.dicom.pixels import frame_offset
from bsbatch.dicom.selection import may_be_scan
from bsbatch.geometry import IMAGE_SHAPE
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.host.threads import ordered_map
from bsbatch.imaging.position import COMPILED_PIECES
from bsbatch.native.files import heads_of
from bsbatch.native.view_pairs import PairRequest, pair_functions
from bsbatch.pipeline.screening import IN_A_PIECE, PIECES_AHEAD
from bsbatch.protocols import FilePart
from bsbatch.run.setup import RunSetup

INTAKE, SCALING, SKIM = Target(8.0, "x", True), Target(1.8, "x", True), Target(15.0, "x", True)
_REASONS = {"PT": "pet", "SR": "structured_report_or_pdf"}
"""Reason code by modality; ``modality_not_nm`` for all others except NM."""


def intake(setup: Setup) -> Outcome:
    """Uncompressed two-frame objects to 512 x 512 arrays, on two threads and on one."""
    keep_freed_memory()  # as a run does; this also applies to the other side, in the same process
    archive, number, rounds = setup.runs / "intake", setup.sizes.intake_scans, setup.sizes.rounds
    write_archive(archive, number)
    files = _files(archive)
    theirs = [scan.image for scan in read_all(files, 2)]
    with open_archive(archive, 2) as opened:
        assert_same_arrays([image[0] for image in load_images(opened, number)], theirs)
    assert_same_arrays(list(_images_of(files)), theirs)
    peer = partial(rate, lambda: sum(1 for _ in read_all(files, 2)))
    arrays = measure_pairs(partial(rate, lambda: sum(1 for _ in _images_of(files))), peer, rounds)
    whole = measure_pairs(rate_intake(archive, 2), peer, rounds)
    scaling = measure_pairs(rate_intake(archive, 2), rate_intake(archive, 1), rounds)
    rows = [
        Row("files to arrays against pydicom + OpenCV in a thread pool", INTAKE, [pair.ratio for pair in arrays]),
        Row(
            "the same with views, pairing, quality figures and hash on our side", INTAKE, [pair.ratio for pair in whole]
        ),
        Row("intake, two threads against one", SCALING, [pair.ratio for pair in scaling]),
    ]
    detail = [
        line_of("pydicom + OpenCV, files to arrays", arrays),
        line_of("pydicom + OpenCV, whole intake", whole),
        line_of("ours, one thread", scaling),
    ]
    note = f"{number} objects of 2 x 1024 x 256 in the page cache, scans/s."
    return Outcome("intake", rows, detail, [note, profile(_busy(archive))])


def _images_of(files: list[Path]) -> Iterator[NDArray[np.float32]]:
    return ordered_map(_image_of, files, 2, IN_A_PIECE, PIECES_AHEAD)


def _image_of(file: Path) -> NDArray[np.float32]:
    """Do exactly the peer's work, which also takes the first frame for the anterior view."""
    native, path = pair_functions(), str(file)
    (head,) = heads_of([path], HEAD)
    header = header_in(head, file.stat().st_size, may_be_scan) if isinstance(head, bytes) else None
    front, back = (frame_offset(header, frame) if header is not None else None for frame in (1, 2))
    image = np.empty(IMAGE_SHAPE, np.float32)
    part = FilePart(path, 0)
    request = None if front is None or back is None else PairRequest.of(((part, front), (part, back)), image)
    if native is None or request is None or native.load([request], COMPILED_PIECES) == [None]:
        raise DifferentResultsError(
            f"{file} was not read by the compiled functions: install bsbatch on a machine with a C compiler"
        )
    return image


def skim(setup: Setup) -> Outcome:
    """Headers of files that are not bone scans, on two threads."""
    archive, number = setup.runs / "skim", setup.sizes.skim_files
    write_clutter(archive, number)
    files = _files(archive)
    read = dict(zip((str(file.relative_to(archive)) for file in files), modalities(files, 2), strict=True))
    with open_archive(archive, 2) as opened, time_skim(opened) as take:
        assert_same_verdicts(list_verdicts(opened), expected_verdicts(read))
        ours, theirs = (lambda: rate(lambda: take().items)), (lambda: rate(lambda: len(modalities(files, 2))))
        pairs = measure_pairs(ours, theirs, setup.sizes.rounds)
    what = "skim of files that are no bone scans against dcmread(stop_before_pixels=True), two threads"
    note = f"{number} objects (CT, MR, PET, CR, SR) in the page cache, files/s."
    return Outcome("skim", [Row(what, SKIM, [pair.ratio for pair in pairs])], [line_of("pydicom", pairs)], [note])


def expected_verdicts(read: Mapping[str, str]) -> dict[str, str]:
    """Reason code of each object that is no NM object, by its modality."""
    return {source: _REASONS.get(modality, "modality_not_nm") for source, modality in read.items()}


def rate_intake(archive: Path, threads: int) -> Callable[[], float]:
    """Return a function that measures our whole intake of an archive once."""

    def measure() -> float:
        with open_archive(archive, threads) as opened, time_intake(opened) as take:
            return rate(lambda: take().items)

    return measure


def _busy(archive: Path) -> Mapping[str, float]:
    with open_archive(archive, 2) as opened, time_intake(opened) as take:
        return take().busy


def open_archive(archive: Path, threads: int) -> AbstractContextManager[RunSetup]:
    """Open an archive as a run does."""
    return open_setup(archive, effort=Effort(threads=threads))


def rate(work: Callable[[], int]) -> float:
    """Return the items of a piece of work in a second."""
    started = time.perf_counter()
    items = work()
    return items / (time.perf_counter() - started)


def _files(archive: Path) -> list[Path]:
    return sorted(path for path in archive.rglob("*") if path.is_file())
