"""Divides studies into training, validation and test set by centre and by patient."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from bsbatch.errors import UsageError
from bsbatch.evaluation.labels import Label
from bsbatch.host.spreadsheet import write_csv

HEADER = ("study_uid", "patient_id", "centre", "label", "split")


class Subset(StrEnum):
    """The sets that a study can belong to; the values of the label file's column ``split``."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    """Of an external centre: never used in training."""
    EXCLUDED = "excluded"
    """At another centre, of a patient of the external test set."""


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """Settings of the split."""

    external: tuple[str, ...] = ("C",)
    """Centres that training never uses."""
    validation_share: float = 0.12
    """Share of the other centres' patients that validate, in (0, 1); 164 of 1367 in the paper."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise UsageError for a share that leaves a set empty."""
        if not 0.0 < self.validation_share < 1.0:
            raise UsageError(f"--validation-share {self.validation_share} is not in (0, 1)")


def divide(labels: Mapping[str, Label], settings: SplitSettings) -> dict[str, Subset]:
    """Assign every study to a set; all studies of a patient train, or all validate.

    A value in the label file's column ``split`` decides. Of the other studies those of external centres are the test
    set, and a share of the remaining patients validates, drawn by centre and class.

    Parameters
    ----------
    labels
        Study Instance UID -> label; a study without ``patient_id`` is a patient of its own.

    Returns
    -------
    Study Instance UID -> set, in the order of `labels`.

    Raises
    ------
    UsageError
        The column ``split`` puts a patient into two sets, trains on an external centre, or has an unknown value.
    """
    patients = _group_by_patient(labels)
    subsets: dict[str, Subset] = {}
    for studies in patients.values():
        subsets |= _assign_by_rule(studies, settings)
    undecided = {patient: studies for patient, studies in patients.items() if not subsets.keys() & _uids(studies)}
    subsets |= _draw_subsets(undecided, settings)
    return {uid: subsets[uid] for uid in labels}


def write_split(path: Path, labels: Mapping[str, Label], subsets: Mapping[str, Subset]) -> None:
    """Write ``split.csv``: study, patient, centre, label and set of every labelled study."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        rows = [
            (uid, _patient(label), label.centre or "", int(label.is_positive), str(subsets[uid]))
            for uid, label in labels.items()
        ]
        write_csv(stream, [HEADER, *rows])


def _patient(label: Label) -> str:
    return label.patient_id or label.study_uid


def _group_by_patient(labels: Mapping[str, Label]) -> dict[str, list[Label]]:
    patients: dict[str, list[Label]] = defaultdict(list)
    for label in labels.values():
        patients[_patient(label)].append(label)
    return patients


def _uids(studies: Iterable[Label]) -> set[str]:
    return {label.study_uid for label in studies}


def _assign_by_rule(studies: list[Label], settings: SplitSettings) -> dict[str, Subset]:
    """Return the sets of one patient's studies if the label file or an external centre decides them, else nothing."""
    given = {_subset(label.split) for label in studies if label.split is not None}
    is_external = any(label.centre in settings.external for label in studies)
    if is_external and given & {Subset.TRAIN, Subset.VALIDATION}:
        raise UsageError(
            f"the label file trains or validates on patients of centre {', '.join(settings.external)}, which is "
            "external: correct its column split, or give another centre as --external"
        )
    if len(given) > 1:
        raise UsageError("the label file's column split puts the studies of one patient into two sets: correct it")
    if not is_external:
        return dict.fromkeys(_uids(studies), given.pop()) if given else {}
    return {label.study_uid: Subset.TEST if label.centre in settings.external else Subset.EXCLUDED for label in studies}


def _subset(value: str) -> Subset:
    try:
        return Subset(value)
    except ValueError as error:
        known = ", ".join(Subset)
        raise UsageError(f"the label file's column split has another value than {known}: correct it") from error


def _draw_subsets(patients: Mapping[str, list[Label]], settings: SplitSettings) -> dict[str, Subset]:
    """Draw validation patients by centre and class; both classes then occur in small sets, too."""
    strata: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for patient, studies in patients.items():
        strata[studies[0].centre or "", any(label.is_positive for label in studies)].append(patient)
    rng = np.random.default_rng(settings.seed)
    subsets: dict[str, Subset] = {}
    for _, members in sorted(strata.items()):
        order = rng.permutation(sorted(members)).tolist()
        held_out = set(order[: round(settings.validation_share * len(order))])
        for patient in members:
            subset = Subset.VALIDATION if patient in held_out else Subset.TRAIN
            subsets |= dict.fromkeys(_uids(patients[patient]), subset)
    return subsets


def count_studies(labels: Mapping[str, Label], subsets: Mapping[str, Subset]) -> dict[str, dict[str, int]]:
    """Count studies by ``set centre`` and class, for the configuration and the model card."""
    tally = Counter((f"{subsets[uid]} {label.centre or '-'}", label.is_positive) for uid, label in labels.items())
    return {
        group: {"positive": tally[group, True], "negative": tally[group, False]}
        for group in sorted({group for group, _ in tally})
    }
