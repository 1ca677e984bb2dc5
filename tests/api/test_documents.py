"""The Python of README and docs/python.md runs as it stands."""

from pathlib import Path

import pytest
from tests.api.examples import run_examples


def test_the_snippets_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_examples() == 4
