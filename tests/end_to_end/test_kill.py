"""A slice of ``python -m tests.end_to_end.kills``."""

from pathlib import Path

import pytest
from tests.end_to_end.kills import differences


@pytest.mark.filterwarnings("ignore")
def test_twenty_kills_and_resumes_give_the_rows_of_an_undisturbed_run(tmp_path: Path) -> None:
    assert differences(tmp_path, 20, 20) == []
