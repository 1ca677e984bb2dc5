"""No patient on two sides, no external centre in training."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.errors import UsageError
from bsbatch.evaluation.labels import Label, read_labels
from bsbatch_build.training.split import Side, SplitSettings, counts, divide, write_split

CENTRES = st.sampled_from(["A", "B", "C", None])
STUDIES = st.lists(st.tuples(st.booleans(), st.sampled_from([None, *"pqrstuvwxyz"]), CENTRES), min_size=1, max_size=60)


def labels_of(rows: list[tuple[bool, str | None, str | None]]) -> dict[str, Label]:
    return {f"1.{number}": Label(f"1.{number}", *row) for number, row in enumerate(rows)}


def sides_by_patient(labels: dict[str, Label], sides: dict[str, Side]) -> dict[str, set[Side]]:
    found: dict[str, set[Side]] = {}
    for uid, label in labels.items():
        found.setdefault(label.patient_id or uid, set()).add(sides[uid])
    return found


@given(STUDIES, st.integers(0, 3))
def test_no_patient_is_on_two_sides_and_no_external_study_is_learned_from(
    rows: list[tuple[bool, str | None, str | None]], seed: int
) -> None:
    labels = labels_of(rows)
    sides = divide(labels, SplitSettings(seed=seed))
    assert list(sides) == list(labels)
    for found in sides_by_patient(labels, sides).values():
        assert len(found - {Side.EXCLUDED}) == 1 or found == {Side.EXCLUDED}
        assert not (found & {Side.TRAIN, Side.VALIDATION} and found & {Side.TEST, Side.EXCLUDED})
    for uid, label in labels.items():
        assert (label.centre == "C") == (sides[uid] is Side.TEST)


def test_the_share_validates_by_centre_and_class() -> None:
    rows = [(positive, f"{centre}{positive}{n}", centre) for centre in "AB" for positive in (0, 1) for n in range(50)]
    labels = labels_of([(bool(positive), patient, centre) for positive, patient, centre in rows])
    sides = divide(labels, SplitSettings(validation_share=0.2))
    assert counts(labels, sides)["validation A"] == {"positive": 10, "negative": 10}
    assert counts(labels, sides)["validation B"] == {"positive": 10, "negative": 10}
    assert counts(labels, sides)["train A"] == {"positive": 40, "negative": 40}


def test_a_seed_decides_who_validates() -> None:
    labels = labels_of([(n % 2 == 0, None, "A") for n in range(40)])
    assert divide(labels, SplitSettings(seed=1)) == divide(labels, SplitSettings(seed=1))
    assert divide(labels, SplitSettings(seed=1)) != divide(labels, SplitSettings(seed=2))


def test_the_order_of_the_label_file_does_not_matter() -> None:
    labels = labels_of([(n % 2 == 0, None, "A") for n in range(40)])
    backwards = dict(reversed(labels.items()))
    assert divide(labels, SplitSettings()) == divide(backwards, SplitSettings())


def test_the_label_file_decides_where_it_has_a_split() -> None:
    labels = {"1": Label("1", True, None, "A", "validation"), "2": Label("2", True, None, "A", "train")}
    assert divide(labels, SplitSettings()) == {"1": Side.VALIDATION, "2": Side.TRAIN}


def test_other_studies_of_an_external_patient_are_left_out_of_training() -> None:
    labels = {"1": Label("1", True, "p", "C"), "2": Label("2", True, "p", "A")}
    assert divide(labels, SplitSettings()) == {"1": Side.TEST, "2": Side.EXCLUDED}


def test_another_external_centre_can_be_named() -> None:
    labels = {"1": Label("1", True, None, "C"), "2": Label("2", True, None, "A")}
    assert divide(labels, SplitSettings(external=("A",))) == {"1": Side.TRAIN, "2": Side.TEST}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([Label("1", True, "p", "A", "train"), Label("2", True, "p", "A", "validation")], "one patient on two sides"),
        ([Label("1", True, None, "C", "train")], "which is external"),
        ([Label("1", True, None, "A", "training")], "another word than train, validation, test, excluded"),
    ],
)
def test_a_label_file_that_would_leak_is_refused(rows: list[Label], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        divide({label.study_uid: label for label in rows}, SplitSettings())


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_a_side_empty_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="validation-share"):
        SplitSettings(validation_share=share)


def test_the_written_split_reads_back_as_labels(tmp_path: Path) -> None:
    labels = labels_of([(n % 2 == 0, None, "A") for n in range(10)])
    sides = divide(labels, SplitSettings(validation_share=0.4))
    write_split(tmp_path / "split.csv", labels, sides)
    lines = (tmp_path / "split.csv").read_text().splitlines()
    assert lines[0] == "study_uid,patient_id,centre,label,split"
    read = read_labels(tmp_path / "split.csv").labels
    assert {uid: Side(label.split or "") for uid, label in read.items()} == sides
