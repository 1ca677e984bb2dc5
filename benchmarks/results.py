"""Rows of the target table: measurements, target and verdict, as JSON and as Markdown."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.pairing import Pair, Spread

from bsbatch.bench.measure import shares_of
from bsbatch.notice import NOTICE, SENTENCE

VERSION = 1

Line = dict[str, float | str]
"""One line of a table of further measurements: cells by column name."""


@dataclass(frozen=True, slots=True)
class Target:
    """Limit for a measurement."""

    limit: float
    unit: str
    """``x`` for a ratio, ``s`` for seconds, ``/s`` for a rate."""
    is_floor: bool
    """True if larger is better."""

    def is_met_by(self, value: float) -> bool:
        """True if a value reaches the limit."""
        return value >= self.limit if self.is_floor else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.is_floor else '≤'} {self.limit:g}{_unit(self.unit)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the target table."""

    what: str
    """The first cell: the subject of the measurement."""
    target: Target
    values: list[float]
    """One for each pair or run, in their order."""

    @property
    def spread(self) -> Spread:
        """Median and range of the values."""
        return Spread.of(self.values)

    @property
    def is_met(self) -> bool:
        """True if the median reaches the target."""
        return self.target.is_met_by(self.spread.median)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Measurements of one scenario."""

    scenario: str
    rows: list[Row]
    detail: list[Line] = field(default_factory=list)
    """Lines of a separate table; all have the same columns."""
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    is_quick: bool = False
    """True if the sizes were too small for meaningful results."""

    def save(self, folder: Path) -> None:
        """Write ``folder/SCENARIO.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {"version": VERSION, "notice": NOTICE, **asdict(self)}
        (folder / f"{self.scenario}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by `save`."""
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("version") != VERSION:
            raise ValueError(f"{path} has another version: delete it and measure again")
        content.pop("notice")
        rows = [Row(row["what"], Target(**row["target"]), row["values"]) for row in content.pop("rows")]
        return cls(rows=rows, **content)


def line_of(name: str, pairs: list[Pair]) -> Line:
    """Summarise pairs of rates as one line of `Outcome.detail`."""
    ratio = Spread.of([pair.ratio for pair in pairs])
    return {
        "against": name,
        "ours": Spread.of([pair.ours for pair in pairs]).median,
        "theirs": Spread.of([pair.theirs for pair in pairs]).median,
        "ratio": ratio.median,
        "range": f"{number(ratio.low)} to {number(ratio.high)}",
    }


def profile(busy: Mapping[str, float]) -> str:
    """Return one sentence for `Outcome.notes`: shares of our busy seconds by stage."""
    shares = ", ".join(f"{stage} {share:.1%}" for stage, share in shares_of([busy]).items())
    return f"Our busy time in the last turn, all threads together: {shares}."


def table(outcomes: Iterable[Outcome]) -> str:
    """Format the target table in Markdown."""
    lines = ["| what | target | measured | range | |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        for row in outcome.rows:
            spread, unit = row.spread, row.target.unit
            scatter = f"{number(spread.low)} to {number(spread.high)} (n = {len(row.values)})"
            verdict = "met" if row.is_met else "missed"
            lines.append(
                f"| {row.what} | {row.target} | {number(spread.median)}{_unit(unit)} | {scatter} | {verdict} |"
            )
    return "\n".join(lines)


def report(outcomes: list[Outcome]) -> str:
    """Format the whole of RESULTS.md."""
    parts = [_HEAD]
    if any(outcome.is_quick for outcome in outcomes):
        parts.append("**A quick try: sizes are too small, the figures mean nothing.**")
    parts += [f"<!-- table -->\n{table(outcomes)}\n<!-- end of table -->", _READING]
    for outcome in outcomes:
        parts += _section(outcome)
    parts += ["## Machine and versions", *_environments(outcomes), SENTENCE]
    return "\n\n".join(parts) + "\n"


def number(value: float) -> str:
    """Format three significant digits, or all digits before the decimal point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


_HEAD = """# Results of `make bench`

Written by `python -m benchmarks.compare`; do not edit. [How it is measured](../docs/benchmarks.md)."""
_READING = """Each figure is the median over pairs or runs, with its range. A ratio is made of two sides that ran right
after one another, and results were equal (probabilities to 1e-5, arrays to the last bit) before a time counted."""


def _section(outcome: Outcome) -> list[str]:
    if not outcome.detail and not outcome.notes:
        return []
    return [f"## {outcome.scenario}", *outcome.notes, *([_detail(outcome.detail)] if outcome.detail else [])]


def _detail(lines: list[Line]) -> str:
    names = list(lines[0])
    cells = [[_cell(line[name]) for name in names] for line in lines]
    rows = [names, ["---"] * len(names), *cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: float | str) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _environments(outcomes: list[Outcome]) -> list[str]:
    """Format one paragraph for each machine, commit and set of versions, with its scenarios."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(_describe_machine(outcome), []).append(outcome)
    return [f"{machine}\n\n{_load_table(group)}" for machine, group in groups.items()]


def _describe_machine(outcome: Outcome) -> str:
    environment = outcome.environment
    machine, versions = environment["machine"], environment["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{machine['processor']} ({', '.join(machine['instructions'])}), {machine['usable_cpus']} CPUs, "
        f"{machine['system']}; bsbatch {environment['bsbatch']} at commit {environment['commit']}; {packages}."
    )


def _load_table(outcomes: list[Outcome]) -> str:
    lines = ["| scenario | date | load average before |", "|---|---|---|"]
    for outcome in outcomes:
        load = ", ".join(f"{value:g}" for value in outcome.environment["machine"]["load_average"])
        lines.append(f"| {outcome.scenario} | {outcome.environment['date']} | {load} |")
    return "\n".join(lines)


def _unit(unit: str) -> str:
    return "x" if unit == "x" else f" {unit}"
