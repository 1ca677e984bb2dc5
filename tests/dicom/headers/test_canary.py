"""A slice of ``python -m tests.dicom.headers.canary``."""

from pathlib import Path

import pytest
from tests.dicom.headers.canary import leaks, mutants

pytestmark = pytest.mark.filterwarnings("ignore")


def test_nothing_that_names_a_patient_is_written_whatever_lengths_claim(tmp_path: Path) -> None:
    assert list(leaks(150, 2, tmp_path, has_report=False)) == []


def test_a_seed_gives_the_same_files_again() -> None:
    assert list(mutants(20, 7)) == list(mutants(20, 7))
