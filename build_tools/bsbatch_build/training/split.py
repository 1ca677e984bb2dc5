"""Who trains, who validates, who is never seen: by centre and by patient, no patient on two sides."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from bsbatch.errors import UsageError
from bsbatch.evaluation.labels import Label

HEADER = ("study_uid", "patient_id", "centre", "label", "split")


class Side(StrEnum):
    """Where a study goes; the words of the label file's column ``split``."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    """Of an external centre: never seen in training."""
    EXCLUDED = "excluded"
    """Of a patient who is also in the external test set."""


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How studies are divided."""

    external: tuple[str, ...] = ("C",)
    """Centres that training never sees."""
    validation_share: float = 0.12
    """Share of the other centres' patients that validate, in (0, 1); 164 of 1367 in the paper."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a share that leaves one side empty."""
        if not 0.0 < self.validation_share < 1.0:
            raise UsageError(f"--validation-share {self.validation_share} is not in (0, 1)")


def divide(labels: Mapping[str, Label], settings: SplitSettings) -> dict[str, Side]:
    """Give every study a side.

    The label file's column ``split`` decides where it is filled in. Elsewhere the studies of external centres are the
    test set, and of the other patients a share validates, drawn by centre and class.

    Parameters
    ----------
    labels
        Study Instance UID -> label; a study without ``patient_id`` is a patient of its own.

    Returns
    -------
    Study Instance UID -> side, in the order of `labels`.

    Raises
    ------
    UsageError
        The column ``split`` puts a patient on two sides, trains on an external centre, or has another word.
    """
    patients = _patients(labels)
    sides: dict[str, Side] = {}
    for studies in patients.values():
        sides |= _stated(studies, settings)
    undecided = {patient: studies for patient, studies in patients.items() if not sides.keys() & _uids(studies)}
    sides |= _drawn(undecided, settings)
    return {uid: sides[uid] for uid in labels}


def write_split(path: Path, labels: Mapping[str, Label], sides: Mapping[str, Side]) -> None:
    """Write ``split.csv``: study, patient, centre, label and side of every labelled study."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEADER)
        for uid, label in labels.items():
            writer.writerow((uid, _patient(label), label.centre or "", int(label.is_positive), sides[uid]))


def _patient(label: Label) -> str:
    return label.patient_id or label.study_uid


def _patients(labels: Mapping[str, Label]) -> dict[str, list[Label]]:
    patients: dict[str, list[Label]] = defaultdict(list)
    for label in labels.values():
        patients[_patient(label)].append(label)
    return patients


def _uids(studies: Iterable[Label]) -> set[str]:
    return {label.study_uid for label in studies}


def _stated(studies: list[Label], settings: SplitSettings) -> dict[str, Side]:
    """The sides of one patient's studies as far as the label file or the external centres decide them."""
    said = {_side(label.split) for label in studies if label.split is not None}
    is_external = any(label.centre in settings.external for label in studies)
    if is_external and said & {Side.TRAIN, Side.VALIDATION}:
        raise UsageError(
            f"the label file trains or validates on patients of centre {', '.join(settings.external)}, which is "
            "external: correct its column split, or say --external with another centre"
        )
    if len(said) > 1:
        raise UsageError("the label file's column split puts the studies of one patient on two sides: correct it")
    if not is_external:
        return dict.fromkeys(_uids(studies), said.pop()) if said else {}
    return {label.study_uid: Side.TEST if label.centre in settings.external else Side.EXCLUDED for label in studies}


def _side(word: str) -> Side:
    try:
        return Side(word)
    except ValueError as error:
        known = ", ".join(Side)
        raise UsageError(f"the label file's column split has another word than {known}: correct it") from error


def _drawn(patients: Mapping[str, list[Label]], settings: SplitSettings) -> dict[str, Side]:
    """Draw validation patients by centre and class, so that small sets keep both."""
    strata: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for patient, studies in patients.items():
        strata[studies[0].centre or "", any(label.is_positive for label in studies)].append(patient)
    rng = np.random.default_rng(settings.seed)
    sides: dict[str, Side] = {}
    for _, members in sorted(strata.items()):
        order = rng.permutation(sorted(members)).tolist()
        held_out = set(order[: round(settings.validation_share * len(order))])
        for patient in members:
            side = Side.VALIDATION if patient in held_out else Side.TRAIN
            sides |= dict.fromkeys(_uids(patients[patient]), side)
    return sides


def counts(labels: Mapping[str, Label], sides: Mapping[str, Side]) -> dict[str, dict[str, int]]:
    """Studies by ``side centre`` and class, for the configuration and the model card."""
    tally = Counter((f"{sides[uid]} {label.centre or '-'}", label.is_positive) for uid, label in labels.items())
    return {
        group: {"positive": tally[group, True], "negative": tally[group, False]}
        for group in sorted({group for group, _ in tally})
    }
