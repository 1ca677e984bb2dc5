"""Join of results and labels; examinations and studies without a partner are listed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bsbatch.errors import UsageError
from bsbatch.evaluation.labels import Label, LabelFile
from bsbatch.evaluation.results import ResultRow, Results
from bsbatch.evaluation.sample import Mask, Sample
from bsbatch.evaluation.settings import Restriction
from bsbatch.patients.record import band_of

UNKNOWN = "unknown"


class Exclusion(StrEnum):
    """Reasons why an examination or a labelled study is not evaluated."""

    NO_RESULT = "label_without_result"
    """The results have no examination of this labelled study."""
    NOT_SCORED = "not_scored"
    """A failed examination of a labelled study."""
    NO_LABEL = "result_without_label"
    """An examination of a study that the label file does not name."""
    NOT_JOINED = "label_not_joined"
    """A row of a table that could not be joined with a study; the reason names its line and the cause."""
    OUTSIDE = "outside_restriction"
    """An examination of a study that --split or --centre leaves out."""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """One examination or study that is not evaluated."""

    exclusion: Exclusion
    study_uid: str | None
    exam_id: str | None = None
    """None for a labelled study without an examination."""
    reason: str | None = None
    """Reason code of a failed examination, or why a row was not joined."""


@dataclass(frozen=True, slots=True)
class Case:
    """One scored examination with its label."""

    examination: ResultRow
    label: Label


@dataclass(frozen=True, slots=True)
class Cohort:
    """Evaluated cases, and all that is excluded."""

    cases: tuple[Case, ...]
    """Sorted by `exam_id`."""
    sample: Sample
    """In the same order."""
    unmatched: tuple[Unmatched, ...]
    """Sorted by `Exclusion`, study and examination."""
    resampling_unit: str
    """``patient_id`` of the labels, else ``patient_key`` of the results, else ``study_uid``."""

    @property
    def studies(self) -> int:
        """Number of evaluated studies."""
        return len({case.label.study_uid for case in self.cases})

    @property
    def exclusions(self) -> Counter[str]:
        """Number of examinations or studies by `Exclusion`."""
        return Counter(str(item.exclusion) for item in self.unmatched)


def gather(results: Results, file: LabelFile, restriction: Restriction) -> Cohort:
    """Join by Study Instance UID; a label applies to each examination of its study.

    Raises
    ------
    UsageError
        The restriction leaves no study, no labelled study is scored, or all scored studies have the same label.
    """
    chosen = _restrict(file, restriction)
    cases: list[Case] = []
    unmatched: list[Unmatched] = []
    for examination in results.examinations:
        label = chosen.get(examination.study_uid or "")
        if label is not None and examination.score is not None:
            cases.append(Case(examination, label))
        else:
            unmatched.append(_exclude(examination, file, label))
    seen = {examination.study_uid for examination in results.examinations}
    unmatched += [Unmatched(Exclusion.NO_RESULT, study_uid) for study_uid in chosen if study_uid not in seen]
    rows = (f"line {line}: {cause}" for line, cause in file.unjoined)
    unmatched += [Unmatched(Exclusion.NOT_JOINED, None, None, row) for row in rows]
    _check(results, cases)
    listed = tuple(sorted(unmatched, key=lambda item: (item.exclusion, item.study_uid or "", item.exam_id or "")))
    unit = _resampling_unit(file, cases)
    return Cohort(tuple(cases), _sample(cases, unit), listed, unit)


def _resampling_unit(file: LabelFile, cases: Sequence[Case]) -> str:
    """Choose the patients of the labels, else those of the archive if every examination has one, else the studies.

    One key for most examinations is a placeholder that replaced all Patient IDs.
    """
    if file.has_patients:
        return "patient_id"
    keys = Counter(case.examination.patient_key for case in cases)
    is_placeholder = max(keys.values()) > len(cases) / 2
    return "study_uid" if None in keys or is_placeholder else "patient_key"


def _restrict(file: LabelFile, restriction: Restriction) -> dict[str, Label]:
    chosen = dict(file.labels)
    for column, wanted in (("split", restriction.split), ("centre", restriction.centre)):
        if wanted is None:
            continue
        if column not in file.columns:
            raise UsageError(f"--{column} needs a column {column}, which the label file lacks")
        available = sorted({getattr(label, column) or "" for label in chosen.values()} - {""})
        chosen = {uid: label for uid, label in chosen.items() if getattr(label, column) == wanted}
        if not chosen:
            raise UsageError(
                f"no labelled study is of {column} {wanted!r}; available: {', '.join(available) or 'none'}"
            )
    return chosen


def _exclude(examination: ResultRow, file: LabelFile, label: Label | None) -> Unmatched:
    if label is not None:
        exclusion = Exclusion.NOT_SCORED
    else:
        exclusion = Exclusion.OUTSIDE if examination.study_uid in file.labels else Exclusion.NO_LABEL
    return Unmatched(exclusion, examination.study_uid, examination.exam_id, examination.reason)


def _check(results: Results, cases: Iterable[Case]) -> None:
    classes = Counter(case.label.is_positive for case in cases)
    if not classes:
        hint = "; the run replaced UIDs by pseudonyms, so the labels must hold the same" * results.run.is_pseudonymised
        raise UsageError(f"no labelled study has a scored examination: do the labels belong to this run?{hint}")
    if len(classes) == 1:
        (label, count), *_ = classes.items()
        raise UsageError(
            f"all {count} scored examinations with a label are labelled {int(label)}: "
            "an evaluation needs both classes. Score more studies, or change --split or --centre"
        )


def _sample(cases: Sequence[Case], unit: str) -> Sample:
    scores = np.array([case.examination.score for case in cases], np.float32)
    labels = np.array([case.label.is_positive for case in cases], bool)
    units = [str(getattr(case.examination if unit == "patient_key" else case.label, unit)) for case in cases]
    _, patients = np.unique(units, return_inverse=True)
    logits = [case.examination.logit for case in cases]
    exact = None if None in logits else np.array(logits, np.float64)
    return Sample(scores, labels, patients.astype(np.intp), exact)


@dataclass(frozen=True, slots=True)
class Group:
    """Part of the cohort."""

    kind: str
    """One of `bsbatch.evaluation.settings.OWN_GROUPS`, another column of the label file, manufacturer or
    unlike_training."""
    name: str
    members: Mask
    """``(N,)`` True for the examinations of the group."""


_LOADS = (("1", 1, 1), ("2 to 5", 2, 5), ("6 to 20", 6, 20), ("more than 20", 21, None))
"""Soloway et al., Cancer 1988;61:195-202: fewer than 6, 6 to 20, more than 20; a single lesion is separate here."""


_MOST_GROUPS = 50


def groups_of(cohort: Cohort, columns: Sequence[str] = ()) -> list[Group]:
    """Group the cohort by what is known of it, and by the `columns` that were read into `Label.others`.

    Only positives have a lesion load, so each load is compared with **all** negatives.

    Raises
    ------
    UsageError
        A column has too many different values.
    """
    labels = [case.label for case in cohort.cases]
    unlike = [case.examination.is_unlike_training for case in cohort.cases]
    names: dict[str, list[str | None]] = {
        "centre": [label.centre for label in labels],
        "sex": [case.label.sex or case.examination.sex for case in cohort.cases],
        "age": [_band(case) for case in cohort.cases],
        **{column: [label.others[index] for label in labels] for index, column in enumerate(columns)},
        "unlike_training": [None if is_unlike is None else ("no", "yes")[is_unlike] for is_unlike in unlike],
    }
    groups = [group for kind, values in names.items() if any(values) for group in _by_name(kind, values)]
    groups += _by_name("manufacturer", [case.examination.manufacturer for case in cohort.cases])
    return groups + _by_load(labels, cohort.sample)


def _band(case: Case) -> str | None:
    return case.examination.age_band if case.label.age is None else band_of(case.label.age)


def _by_load(labels: Sequence[Label], sample: Sample) -> list[Group]:
    if all(label.lesions is None for label in labels):
        return []
    loads = np.array([load_of(label.lesions) for label in labels])
    names = ("0", *(load[0] for load in _LOADS), UNKNOWN)
    positives = {name: (loads == name) & sample.labels for name in names}
    return [Group("lesions", name, members | ~sample.labels) for name, members in positives.items() if members.any()]


def _by_name(kind: str, names: list[str | None]) -> list[Group]:
    groups = np.array([(name or "").strip() or UNKNOWN for name in names])
    found = np.unique(groups)
    if len(found) > _MOST_GROUPS:
        raise UsageError(f"{kind} has {len(found)} different values, more than {_MOST_GROUPS}: join some into groups")
    return [Group(kind, str(name), groups == name) for name in found]


def load_of(lesions: int | None) -> str:
    """Name of the lesion load for a number of lesions."""
    if lesions is None:
        return UNKNOWN
    for name, least, most in _LOADS:
        if lesions >= least and (most is None or lesions <= most):
            return name
    return "0"
