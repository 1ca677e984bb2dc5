"""Write a phantom set: archive, labels, masks, and the expected status of every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from pydicom.uid import NuclearMedicineImageStorage

from bsbatch.host.machine import usable_cpus
from bsbatch.host.spreadsheet import write_csv
from bsbatch.reasons import Status
from bsbatch_build.phantom.clutter import EXTRA_STUDIES, ROUND, draw_companions, draw_duplicate, make_copies
from bsbatch_build.phantom.containers import pack
from bsbatch_build.phantom.dialects import ANTERIOR, POSTERIOR, PhantomScan, build_datasets
from bsbatch_build.phantom.encoding import SHARES, Encoding, encode
from bsbatch_build.phantom.entries import ArchiveFile, Expectation, PhantomFile, StudyFolder, study_folder
from bsbatch_build.phantom.headers import Origin
from bsbatch_build.phantom.identity import Identity, draw_identity, random_stream
from bsbatch_build.phantom.plan import Assignment, SetPlan, SetSummary, assign
from bsbatch_build.phantom.render import VIEWS
from bsbatch_build.phantom.study import Study, make_study

LABEL_HEADER = ("study_uid", "label", "centre", "split", "lesions", "sex", "age")
EXPECTED_HEADER = ("source", "kind", "status", "reason")

_IMAGES, _HEADERS, _CLUTTER, _EXTRAS = 1, 2, 3, 4
"""Keys of the random streams of one study, by purpose."""

_COMPRESSION = (cv2.IMWRITE_PNG_COMPRESSION, 1)

_SERIAL_STUDIES = 64
"""Up to this number of studies, one process finishes before a second one would have started."""
_CHUNK = 8
"""Studies submitted to a process at a time."""

Label = tuple[str, int, str, str, int, str, int]
"""A row of labels.csv."""
Expected = tuple[str, str, str, str]
"""A row of expected.csv."""


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """All files of one labelled study and of the extra studies generated with it."""

    label: Label
    files: tuple[ArchiveFile, ...]
    masks: tuple[tuple[str, bytes], ...]
    """File names below the masks folder, with PNG bytes."""


def write_set(out: Path, plan: SetPlan, on_study: Callable[[int], object] = lambda _: None) -> SetSummary:
    """Write the set described by ``plan`` into the new or empty folder ``out``.

    ``on_study`` is called after each study with the number of studies written. Raises ValueError if
    ``out`` is not empty, or for containers if there are too few studies.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder. Name a new one, or empty it first.")
    (out / "archive").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(exist_ok=True)
    labels: list[Label] = []
    expected: list[Expected] = []
    for number, (label, rows) in enumerate(_write_studies(out, plan), start=1):
        labels.append(label)
        expected += rows
        on_study(number)
    if plan.containers:
        moved = pack(out / "archive")
        expected = [(moved.get(source, source), kind, status, reason) for source, kind, status, reason in expected]
    _write_csv(out / "labels.csv", LABEL_HEADER, labels)
    _write_csv(out / "expected.csv", EXPECTED_HEADER, sorted(expected))
    return _summary(labels, expected)


def _write_studies(out: Path, plan: SetPlan) -> Iterator[tuple[Label, list[Expected]]]:
    """Write the studies, in parallel on several CPUs; the content of each depends only on its index."""
    write, processes = partial(_write_study, out, plan), usable_cpus()
    if processes == 1 or plan.studies <= _SERIAL_STUDIES:
        yield from map(write, range(plan.studies))
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(write, range(plan.studies), chunksize=_CHUNK)


def _write_study(out: Path, plan: SetPlan, index: int) -> tuple[Label, list[Expected]]:
    content = _study_files(plan, index)
    _store(out, content)
    return content.label, [_row_of(file) for file in content.files]


def _summary(labels: list[Label], expected: list[Expected]) -> SetSummary:
    status = Counter(row[2] for row in expected)
    return SetSummary(
        studies=len(labels),
        positives=sum(label[1] for label in labels),
        files=len(expected),
        used=status[Status.USED],
        skipped=status[Status.SKIPPED],
        failed=status[Status.FAILED],
    )


def _row_of(archived: ArchiveFile) -> Expected:
    file = archived.file
    return archived.source, file.kind, file.expectation.status.value, file.expectation.reason


def _store(out: Path, content: StudyFiles) -> None:
    for archived in content.files:
        path = out / "archive" / archived.source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archived.file.data)
    for name, data in content.masks:
        (out / "masks" / name).write_bytes(data)


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        write_csv(lines, [header, *rows])


def study_of(plan: SetPlan, index: int) -> Study:
    """Make patient, disease and views of study ``index`` as in the archive of this plan, without its files."""
    assignment = assign(plan, index)
    return make_study(assignment, np.random.SeedSequence(_seeds(plan, assignment, _IMAGES)))


def _seeds(plan: SetPlan, assignment: Assignment, *purpose: int) -> tuple[int, ...]:
    """Seeds of one purpose of a study. The centre is one of them: a seed gives other patients at each centre."""
    return plan.seed, ord(assignment.centre.name), assignment.index, *purpose


def _study_files(plan: SetPlan, index: int) -> StudyFiles:
    study = study_of(plan, index)
    assignment = study.case.assignment
    rng = random_stream(*_seeds(plan, assignment, _HEADERS))
    identity = draw_identity(rng, plan.seed, f"{assignment.centre.name}{index:05d}")
    scan = _scan(study, identity, rng)
    contents = _objects(study, scan, rng)
    files: list[ArchiveFile] = []
    if plan.clutter:
        clutter = random_stream(*_seeds(plan, assignment, _CLUTTER))
        companions = draw_companions(index, scan, clutter)
        copies = draw_duplicate(index, contents, clutter) + make_copies(index, scan, contents)
        contents = [*_shuffle([*contents, *companions], clutter), *copies]
        files += _extra_studies(plan, index)
    files += _folder(identity, rng).assign_paths(contents)
    label = (
        identity.study_uid,
        int(assignment.positive),
        assignment.centre.name,
        assignment.split.value,
        len(study.case.lesions),
        study.case.patient.sex.value,
        study.case.patient.age,
    )
    return StudyFiles(label, tuple(files), tuple(_masks(identity.study_uid, study)))


def _shuffle(files: list[PhantomFile], rng: Generator) -> list[PhantomFile]:
    return [files[position] for position in rng.permutation(len(files))]


def _scan(study: Study, identity: Identity, rng: Generator) -> PhantomScan:
    acquisition = study.case.acquisition
    camera, spacing = acquisition.camera, acquisition.optics.spacing
    order = (POSTERIOR, ANTERIOR) if acquisition.posterior_first else (ANTERIOR, POSTERIOR)
    origin = Origin(identity, study.case.patient, camera, spacing)
    return PhantomScan(origin, study.views, order, int(rng.integers(4)))


def _objects(study: Study, scan: PhantomScan, rng: Generator) -> list[PhantomFile]:
    encodings, shares = zip(*SHARES, strict=True)
    encoding = Encoding(encodings[int(rng.choice(len(encodings), p=shares))])
    dialect = study.case.assignment.installation.dialect
    return [
        PhantomFile(
            dialect.value,
            Expectation(Status.USED),
            encode(dataset, encoding, dataset.get("SOPClassUID", NuclearMedicineImageStorage)),
        )
        for dataset in build_datasets(dialect, scan)
    ]


def _folder(identity: Identity, rng: Generator) -> StudyFolder:
    return study_folder(
        int(rng.integers(4)),
        patient=identity.patient_id,
        uid=identity.study_uid,
        date=identity.date,
    )


def _extra_studies(plan: SetPlan, index: int) -> list[ArchiveFile]:
    """Make whole-body scans that must fail: one of each kind with the first study of every round."""
    if index % ROUND:
        return []
    files: list[ArchiveFile] = []
    for number, kind in enumerate(EXTRA_STUDIES):
        assignment = replace(assign(plan, index), positive=False)
        seeds = _seeds(plan, assignment, _EXTRAS, number)
        study = make_study(assignment, np.random.SeedSequence(seeds))
        rng = random_stream(*seeds, _HEADERS)
        label = f"{assignment.centre.name}{index:05d}X{number}"
        identity = draw_identity(rng, plan.seed, label)
        scan = _scan(study, identity, rng)
        contents = [PhantomFile(kind.name, kind.expectation, data) for data in kind.make(scan, rng)]
        files += _folder(identity, rng).assign_paths(contents)
    return files


def _masks(study_uid: str, study: Study) -> Iterator[tuple[str, bytes]]:
    if not study.case.assignment.positive:
        return
    for view, mask in zip(VIEWS, study.masks, strict=True):
        ok, data = cv2.imencode(".png", mask, _COMPRESSION)
        if not ok:
            raise RuntimeError(f"OpenCV could not write the {view} mask as PNG.")
        yield f"{study_uid}_{view}.png", data.tobytes()
