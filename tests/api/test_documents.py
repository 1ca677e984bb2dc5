"""The Python of README, docs/python.md and the notebooks runs as it stands."""

from pathlib import Path

import pytest
from tests.api.examples import run_examples
from tests.api.notebook import NOTEBOOKS, read, run_notebook, texts_of


def test_the_snippets_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_examples() == 4


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_the_outputs_that_it_holds(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = [texts_of(cell["outputs"]) for cell in read(notebook)["cells"] if cell["cell_type"] == "code"]

    assert [texts_of(outputs) for outputs in run_notebook(notebook)] == shown  # else: python -m tests.api.notebook
    assert all(shown)
