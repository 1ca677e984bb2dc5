"""A slice of ``python -m tests.dicom.headers.fuzz``, and inputs from `tests.guided` that reach every branch."""

import random
from pathlib import Path

import pytest
from tests.dicom.headers.fuzz import complaints, mutants
from tests.dicom.headers.mutations import mutate, originals
from tests.dicom.headers.test_fast import read_fast
from tests.fuzzing import read_corpus

pytestmark = pytest.mark.filterwarnings("ignore")
CORPUS = read_corpus(Path(__file__).parent / "headers.corpus")


@pytest.mark.parametrize("seed", [1, 2])
def test_both_readers_agree_on_mutated_headers(seed: int) -> None:
    wrong = [(changes, list(complaints(data))) for data, changes in mutants(120, seed)]

    assert [found for found in wrong if found[1]] == []


def test_a_seed_gives_the_same_files_again() -> None:
    assert list(mutants(20, 7)) == list(mutants(20, 7))


def test_the_fast_reader_reads_a_fair_part_of_the_mutated_headers() -> None:
    files = [data for data, _ in mutants(100, 4)]

    assert 8 < sum(read_fast(data) is not None for data in files) < 90


def test_the_original_files_are_sound() -> None:
    assert [list(complaints(data)) for data in originals()] == [[]] * len(originals())


def test_both_readers_agree_on_inputs_that_reach_every_branch() -> None:
    wrong = [(number, list(complaints(data))) for number, data in enumerate(CORPUS)]

    assert [found for found in wrong if found[1]] == []


def test_both_readers_agree_on_mutations_of_these_inputs() -> None:
    draw = random.Random(1)
    files = [mutate(draw.choice(CORPUS), draw) for _ in range(60)]

    assert [(changes, list(complaints(data))) for data, changes in files if list(complaints(data))] == []
