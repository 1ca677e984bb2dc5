"""The Python of README and docs/python.md, run as it stands."""

import re
from pathlib import Path

from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_examples() -> int:
    """Run the examples in the current folder, one after another with one namespace; return their number."""
    write_set(Path("SET"), SetPlan(studies=4, seed=5, clutter=False))
    documents = [_ROOT / "docs" / "python.md", _ROOT / "README.md"]
    blocks = [block for document in documents for block in _BLOCK.findall(document.read_text(encoding="utf-8"))]
    found: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "a document", "exec"), found)
    assert {"results", "worst", "failed", "score", "objects"} <= set(found)
    return len(blocks)
