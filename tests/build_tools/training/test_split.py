"""No patient in two sets, no external centre in training."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.errors import UsageError
from bsbatch.evaluation.labels import Label, read_labels
from bsbatch_build.training.split import SplitSettings, Subset, count_studies, divide, write_split

CENTRES = st.sampled_from(["A", "B", "C", None])
STUDIES = st.lists(st.tuples(st.booleans(), st.sampled_from([None, *"pqrstuvwxyz"]), CENTRES), min_size=1, max_size=60)


def labels_of(rows: list[tuple[bool, str | None, str | None]]) -> dict[str, Label]:
    return {f"1.{number}": Label(f"1.{number}", *row) for number, row in enumerate(rows)}


def subsets_by_patient(labels: dict[str, Label], subsets: dict[str, Subset]) -> dict[str, set[Subset]]:
    grouped: dict[str, set[Subset]] = {}
    for uid, label in labels.items():
        grouped.setdefault(label.patient_id or uid, set()).add(subsets[uid])
    return grouped


@given(STUDIES, st.integers(0, 3))
def test_no_patient_is_in_two_sets_and_no_external_study_is_in_training(
    rows: list[tuple[bool, str | None, str | None]], seed: int
) -> None:
    labels = labels_of(rows)
    subsets = divide(labels, SplitSettings(seed=seed))
    assert list(subsets) == list(labels)
    for used in subsets_by_patient(labels, subsets).values():
        assert len(used - {Subset.EXCLUDED}) == 1 or used == {Subset.EXCLUDED}
        assert not (used & {Subset.TRAIN, Subset.VALIDATION} and used & {Subset.TEST, Subset.EXCLUDED})
    for uid, label in labels.items():
        assert (label.centre == "C") == (subsets[uid] is Subset.TEST)


def test_the_share_validates_by_centre_and_class() -> None:
    rows = [(positive, f"{centre}{positive}{n}", centre) for centre in "AB" for positive in (0, 1) for n in range(50)]
    labels = labels_of([(bool(positive), patient, centre) for positive, patient, centre in rows])
    subsets = divide(labels, SplitSettings(validation_share=0.2))
    assert count_studies(labels, subsets)["validation A"] == {"positive": 10, "negative": 10}
    assert count_studies(labels, subsets)["validation B"] == {"positive": 10, "negative": 10}
    assert count_studies(labels, subsets)["train A"] == {"positive": 40, "negative": 40}


def test_the_seed_decides_which_studies_validate() -> None:
    labels = labels_of([(n % 2 == 0, None, "A") for n in range(40)])
    assert divide(labels, SplitSettings(seed=1)) == divide(labels, SplitSettings(seed=1))
    assert divide(labels, SplitSettings(seed=1)) != divide(labels, SplitSettings(seed=2))


def test_the_order_of_the_label_file_does_not_matter() -> None:
    labels = labels_of([(n % 2 == 0, None, "A") for n in range(40)])
    backwards = dict(reversed(labels.items()))
    assert divide(labels, SplitSettings()) == divide(backwards, SplitSettings())


def test_a_split_in_the_label_file_decides() -> None:
    labels = {"1": Label("1", True, None, "A", "validation"), "2": Label("2", True, None, "A", "train")}
    assert divide(labels, SplitSettings()) == {"1": Subset.VALIDATION, "2": Subset.TRAIN}


def test_other_studies_of_an_external_patient_are_left_out_of_training() -> None:
    labels = {"1": Label("1", True, "p", "C"), "2": Label("2", True, "p", "A")}
    assert divide(labels, SplitSettings()) == {"1": Subset.TEST, "2": Subset.EXCLUDED}


def test_another_external_centre_can_be_named() -> None:
    labels = {"1": Label("1", True, None, "C"), "2": Label("2", True, None, "A")}
    assert divide(labels, SplitSettings(external=("A",))) == {"1": Subset.TRAIN, "2": Subset.TEST}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([Label("1", True, "p", "A", "train"), Label("2", True, "p", "A", "validation")], "one patient into two sets"),
        ([Label("1", True, None, "C", "train")], "which is external"),
        ([Label("1", True, None, "A", "training")], "another value than train, validation, test, excluded"),
    ],
)
def test_a_label_file_that_would_leak_is_refused(rows: list[Label], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        divide({label.study_uid: label for label in rows}, SplitSettings())


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_a_set_empty_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="validation-share"):
        SplitSettings(validation_share=share)


def test_the_written_split_reads_back_as_labels(tmp_path: Path) -> None:
    labels = labels_of([(n % 2 == 0, None, "A") for n in range(10)])
    subsets = divide(labels, SplitSettings(validation_share=0.4))
    write_split(tmp_path / "split.csv", labels, subsets)
    lines = (tmp_path / "split.csv").read_text().splitlines()
    assert lines[0] == "study_uid,patient_id,centre,label,split"
    read = read_labels(tmp_path / "split.csv").labels
    assert {uid: Subset(label.split or "") for uid, label in read.items()} == subsets
