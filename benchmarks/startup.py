"""Cost of the process: time of ``bsbatch --help``, and peak memory by the size of the archive."""

import re

from benchmarks.processes import call_module, run_module
from benchmarks.results import Outcome, Row, Target
from benchmarks.setup import Setup

HELP, MEMORY = Target(0.3, "s", False), Target(1.1, "x", False)
_MEMORY_ROUNDS = 3
"""The peak of the same run varies by some MiB."""
_RATIO = re.compile(r"^ratio (\d+\.\d+)", re.MULTILINE)


def help_time(setup: Setup) -> Outcome:
    """Wall time of ``bsbatch --help``, after one warm-up call."""
    run_module("bsbatch", "--help")
    seconds = [run_module("bsbatch", "--help") for _ in range(setup.sizes.starts)]
    return Outcome("help", [Row("`bsbatch --help`", HELP, seconds)])


def memory(setup: Setup) -> Outcome:
    """Peak memory of runs over a large and a small archive, by `benchmarks.memory`."""
    small, large = setup.sizes.memory
    printed = [call_module("benchmarks.memory", str(small), str(large)) for _ in range(_MEMORY_ROUNDS)]
    what = f"peak memory, {large:,} examinations with a null backend against {small}"
    row = Row(what, MEMORY, [ratio_in(words) for words in printed])
    return Outcome("memory", [row], notes=["```\n" + "".join(printed).strip() + "\n```"])


def ratio_in(printed: str) -> float:
    """Parse the ratio printed by `benchmarks.memory`.

    Raises
    ------
    ValueError
        There is none.
    """
    match = _RATIO.search(printed)
    if match is None:
        raise ValueError("benchmarks.memory printed no line that begins with 'ratio': see benchmarks/memory.py")
    return float(match[1])
