import sys
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dicom.objects import scan

from bsbatch.identity import DigestSet, digest, exam_id, study_key


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"))))
def test_a_digest_is_stable_and_has_64_bits(parts: list[str]) -> None:
    assert digest(*parts) == digest(*parts)
    assert 0 <= digest(*parts) < 2**64


def test_the_borders_between_parts_change_the_digest() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_a_digest_never_changes_between_versions() -> None:
    assert digest("1.2.3") == 0x1F0ADB19A75AEDD1


@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_an_exam_id_does_not_depend_on_the_order_of_its_objects(order: tuple[int, ...]) -> None:
    scans = [scan("A", "a"), scan("P", "p")]

    assert exam_id([scans[index] for index in order]) == exam_id(scans)


def test_an_exam_id_has_32_hexadecimal_digits() -> None:
    assert len(exam_id([scan("AP", "both")])) == 32
    assert int(exam_id([scan("AP", "both")]), 16)


def test_an_exam_id_depends_on_the_uid_and_not_on_the_path() -> None:
    moved = scan("AP", "moved", sop_uid="1.2.3.4.both")

    assert exam_id([moved]) == exam_id([scan("AP", "both")])


def test_objects_without_a_uid_are_distinguished_by_their_path() -> None:
    assert exam_id([scan("AP", "a", sop_uid=None)]) != exam_id([scan("AP", "b", sop_uid=None)])


def test_swapped_views_are_another_examination() -> None:
    assert exam_id([scan("AP", "x")]) != exam_id([scan("PA", "x")])


def test_objects_of_one_study_are_decided_together() -> None:
    assert study_key("1.2", "1", "a") == study_key("1.2", "2", "b")
    assert study_key("1.2", "1", "a") != study_key("1.3", "1", "a")


def test_objects_without_a_study_are_decided_with_those_of_their_uid_and_without_one_alone() -> None:
    assert study_key(None, "1", "a") == study_key(None, "1", "b")
    assert study_key(None, None, "a") != study_key(None, None, "b")
    assert len({study_key(None, "1", "1"), study_key(None, None, "1"), study_key("1", "1", "1")}) == 3


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3).map(lambda number: number << 40), max_size=200))
def test_a_digest_set_behaves_like_a_set(numbers: list[int]) -> None:
    held, absent = DigestSet(numbers), {number ^ 1 << 50 for number in numbers} - set(numbers)

    assert len(held) == len({number or 1 for number in numbers})
    assert all(number in held for number in numbers)
    assert not any(number in held for number in absent)
    assert None not in held


def test_a_large_set_of_digests_takes_at_most_32_bytes_each() -> None:
    held = DigestSet(digest(str(number)) for number in range(50_000))

    assert len(held) == 50_000
    assert sys.getsizeof(held._slots) <= 32 * len(held)
