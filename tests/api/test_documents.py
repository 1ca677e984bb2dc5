"""The Python of README and docs/python.md runs as it stands."""

import re
from pathlib import Path

import pytest

from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_snippets_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(Path("SET"), SetPlan(studies=4, seed=5, clutter=False))
    documents = [ROOT / "docs" / "python.md", ROOT / "README.md"]

    blocks = [block for document in documents for block in _BLOCK.findall(document.read_text(encoding="utf-8"))]
    found: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "a document", "exec"), found)

    assert len(blocks) == 4
    assert {"results", "worst", "failed", "score", "objects"} <= set(found)
