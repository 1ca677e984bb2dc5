"""Writes a whole set: archive, labels, masks and what a reader should make of every file."""

from __future__ import annotations

import csv
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
from bsbatch_build.phantom.clutter import EXTRA_STUDIES, ROUND, companions, duplicated
from bsbatch_build.phantom.dialects import ANTERIOR, POSTERIOR, Examination, write_down
from bsbatch_build.phantom.encoding import SHARES, Encoding, encode
from bsbatch_build.phantom.entries import Entry, Filed, Folder, Outcome, Status, study_folder
from bsbatch_build.phantom.headers import Origin
from bsbatch_build.phantom.identity import Identity, draw_identity, stream
from bsbatch_build.phantom.plan import SetPlan, SetSummary, assign
from bsbatch_build.phantom.render import VIEWS
from bsbatch_build.phantom.study import Study, make_study

LABEL_HEADER = ("study_uid", "label", "centre", "split", "lesions")
EXPECTED_HEADER = ("source", "kind", "status", "reason")

_IMAGES, _HEADERS, _CLUTTER, _EXTRAS = 1, 2, 3, 4
"""Purposes of the random streams of one study."""

_COMPRESSION = (cv2.IMWRITE_PNG_COMPRESSION, 1)

_ALONE = 64
"""Up to so many studies are made before a second process would have started."""
_AT_ONCE = 8
"""Studies that a process is given at a time."""

Label = tuple[str, int, str, str, int]
"""A row of labels.csv."""
Expected = tuple[str, str, str, str]
"""A row of expected.csv."""


@dataclass(frozen=True, slots=True)
class Part:
    """All files of one labelled study and of the extra studies beside it."""

    label: Label
    files: tuple[Filed, ...]
    masks: tuple[tuple[str, bytes], ...]
    """File names below the folder of masks, and PNG bytes."""


def write_set(out: Path, plan: SetPlan, on_study: Callable[[int], object] = lambda _: None) -> SetSummary:
    """Write the set that ``plan`` describes into the empty or new folder ``out``.

    ``on_study`` is called with the number of studies written. Raises ValueError where ``out`` holds
    anything.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder. Name a new one, or empty it first.")
    (out / "archive").mkdir(parents=True, exist_ok=True)
    (out / "masks").mkdir(exist_ok=True)
    labels: list[Label] = []
    expected: list[Expected] = []
    for number, (label, rows) in enumerate(_written(out, plan), start=1):
        labels.append(label)
        expected += rows
        on_study(number)
    _write_csv(out / "labels.csv", LABEL_HEADER, labels)
    _write_csv(out / "expected.csv", EXPECTED_HEADER, sorted(expected))
    return _summary(labels, expected)


def _written(out: Path, plan: SetPlan) -> Iterator[tuple[Label, list[Expected]]]:
    """Write one study after the other, several at a time where there are cores; each hangs on its own number only."""
    write, processes = partial(_write, out, plan), usable_cpus()
    if processes == 1 or plan.studies <= _ALONE:
        yield from map(write, range(plan.studies))
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(write, range(plan.studies), chunksize=_AT_ONCE)


def _write(out: Path, plan: SetPlan, index: int) -> tuple[Label, list[Expected]]:
    part = _part(plan, index)
    _store(out, part)
    return part.label, [_expected_row(filed) for filed in part.files]


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


def _expected_row(filed: Filed) -> Expected:
    entry = filed.entry
    return filed.source, entry.kind, entry.outcome.status.value, entry.outcome.reason


def _store(out: Path, part: Part) -> None:
    for filed in part.files:
        path = out / "archive" / filed.source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(filed.entry.data)
    for name, data in part.masks:
        (out / "masks" / name).write_bytes(data)


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream_out:
        writer = csv.writer(stream_out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def study_of(plan: SetPlan, index: int) -> Study:
    """Patient, disease and views of study ``index``: what the archive of this plan holds, without its files."""
    return make_study(assign(plan, index), np.random.SeedSequence([plan.seed, _IMAGES, index]))


def _part(plan: SetPlan, index: int) -> Part:
    study = study_of(plan, index)
    assignment = study.subject.assignment
    rng = stream(plan.seed, _HEADERS, index)
    identity = draw_identity(rng, plan.seed, f"{assignment.centre.name}{index:05d}")
    examination = _examination(study, identity, rng)
    entries = _objects(study, examination, rng)
    files: list[Filed] = []
    if plan.clutter:
        clutter = stream(plan.seed, _CLUTTER, index)
        beside = companions(index, examination, clutter)
        copies = duplicated(index, entries, clutter)
        entries = [*_shuffled([*entries, *beside], clutter), *copies]
        files += _extra_studies(plan, index)
    files += _folder(identity, rng).file(entries)
    lesions = len(study.subject.lesions)
    label = (identity.study_uid, int(assignment.positive), assignment.centre.name, lesions)
    row = (*label[:3], assignment.split.value, lesions)
    return Part(row, tuple(files), tuple(_masks(identity.study_uid, study)))


def _shuffled(entries: list[Entry], rng: Generator) -> list[Entry]:
    return [entries[place] for place in rng.permutation(len(entries))]


def _examination(study: Study, identity: Identity, rng: Generator) -> Examination:
    acquisition = study.subject.acquisition
    camera, spacing = acquisition.camera, acquisition.optics.spacing
    order = (POSTERIOR, ANTERIOR) if acquisition.posterior_first else (ANTERIOR, POSTERIOR)
    origin = Origin(identity, study.subject.patient, camera, spacing)
    return Examination(origin, study.views, order, int(rng.integers(4)))


def _objects(study: Study, examination: Examination, rng: Generator) -> list[Entry]:
    encodings, shares = zip(*SHARES, strict=True)
    encoding = Encoding(encodings[int(rng.choice(len(encodings), p=shares))])
    dialect = study.subject.assignment.habit.dialect
    return [
        Entry(
            dialect.value,
            Outcome(Status.USED),
            encode(dataset, encoding, dataset.get("SOPClassUID", NuclearMedicineImageStorage)),
        )
        for dataset in write_down(dialect, examination)
    ]


def _folder(identity: Identity, rng: Generator) -> Folder:
    return study_folder(
        int(rng.integers(4)),
        patient=identity.patient_id,
        uid=identity.study_uid,
        date=identity.date,
    )


def _extra_studies(plan: SetPlan, index: int) -> list[Filed]:
    """Whole-body scans that fail; one of each kind beside the first of every round of studies."""
    if index % ROUND:
        return []
    files: list[Filed] = []
    for number, kind in enumerate(EXTRA_STUDIES):
        assignment = replace(assign(plan, index), positive=False)
        sequence = np.random.SeedSequence([plan.seed, _EXTRAS, index, number])
        study = make_study(assignment, sequence)
        rng = stream(plan.seed, _EXTRAS, index, number, _HEADERS)
        label = f"{assignment.centre.name}{index:05d}X{number}"
        identity = draw_identity(rng, plan.seed, label)
        examination = _examination(study, identity, rng)
        entries = [Entry(kind.name, kind.outcome, data) for data in kind.make(examination, rng)]
        files += _folder(identity, rng).file(entries)
    return files


def _masks(study_uid: str, study: Study) -> Iterator[tuple[str, bytes]]:
    if not study.subject.assignment.positive:
        return
    for view, mask in zip(VIEWS, study.masks, strict=True):
        ok, data = cv2.imencode(".png", mask, _COMPRESSION)
        if not ok:
            raise RuntimeError(f"OpenCV could not write the {view} mask as PNG.")
        yield f"{study_uid}_{view}.png", data.tobytes()
