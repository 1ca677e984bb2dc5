"""Results of the steps of `make gpu`: one JSON file and one short page, both written anew after each step."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from benchmarks.results import Line, number

from bsbatch.host.files import replace_text
from bsbatch.notice import NOTICE, SENTENCE

VERSION = 1
STAND_IN = "a stand-in"
"""Name of the GPU of the driver in ``tests/cuda/shim``."""


class Verdict(StrEnum):
    """Endings of a step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_HERE = "not here"
    """The machine lacks a part that the step needs."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step that has ended."""

    step: str
    verdict: Verdict
    seconds: float
    lines: list[Line]
    """Measurements up to the end, complete or not; columns may differ."""
    message: str = ""
    """The reason of a verdict other than passed."""


@dataclass(frozen=True, slots=True)
class Results:
    """All steps up to now."""

    environment: Mapping[str, Any]
    """See `bsbatch.bench.environment.environment`."""
    is_quick: bool
    steps: Sequence[StepResult]

    @property
    def gpu(self) -> str:
        """Architecture and model of the GPU, for file names; ``none`` where no step named one."""
        labels = [line["label"] for result in self.steps for line in result.lines if "label" in line]
        return str(next(iter(labels), "none"))

    def save(self, folder: Path) -> Path:
        """Write ``gpu-LABEL.json`` and ``gpu-LABEL.md``; return the path of the page."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"version": VERSION, "notice": NOTICE, **asdict(self)}
        replace_text(folder / f"gpu-{self.gpu}.json", json.dumps(content, indent=2) + "\n")
        page = folder / f"gpu-{self.gpu}.md"
        replace_text(page, self._page())
        return page

    def _page(self) -> str:
        facts, machine = self.environment, self.environment["machine"]
        parts = [
            f"# `make gpu`: {self.gpu}",
            "Written by `python -m benchmarks.gpu.run`; do not edit. [The steps](../../docs/gpu.md)",
            f"{machine['processor']}, {machine['usable_cpus']} CPUs; commit {facts['commit']}; {facts['date']}.",
        ]
        if self.is_quick or STAND_IN.replace(" ", "-") in self.gpu:
            parts.append("**A try, in tiny sizes or on a driver that stands in for a GPU: the figures mean nothing.**")
        rows: list[Line] = [_summary(result) for result in self.steps]
        parts.append(_table(rows))
        for result in self.steps:
            if result.lines:
                parts += [f"## {result.step}", _table(result.lines)]
        return "\n\n".join([*parts, SENTENCE]) + "\n"


def _summary(result: StepResult) -> Line:
    return {"step": result.step, "verdict": result.verdict, "s": result.seconds, "why": result.message}


def _table(lines: Sequence[Line]) -> str:
    """Format lines in Markdown, with every column that one of them has."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    rows = [names, ["---"] * len(names), *([_cell(line.get(name, "")) for name in names] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: float | str) -> str:
    return number(value) if isinstance(value, float) else str(value).replace("|", "\\|")
