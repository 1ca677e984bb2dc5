"""A slice of ``python -m tests.sources.containers.fuzz``, and the corpus of ``tests.guided``."""

import warnings
from pathlib import Path

import pytest
from tests.fuzzing import read_corpus
from tests.sources.containers.fuzz import complaints, mutants, originals

pytestmark = pytest.mark.filterwarnings("ignore")


def test_sound_containers_are_not_complained_about() -> None:
    for data in originals():
        assert list(complaints(data)) == []


def test_mutated_containers_end_as_rows_and_agree_with_zipfile() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [found for data in mutants(400, 3) for found in complaints(data)] == []


def test_inputs_that_reach_every_branch_end_as_rows() -> None:
    for data in read_corpus(Path(__file__).with_name("containers.corpus")):
        assert list(complaints(data)) == []
