"""What the process itself costs: the time of ``bsbatch --help``, and memory against the size of an archive."""

import re

from benchmarks.processes import call_module, run_module
from benchmarks.results import Outcome, Row, Target
from benchmarks.setup import Setup

HELP, MEMORY = Target(0.3, "s", False), Target(1.1, "x", False)
_RATIO = re.compile(r"^ratio (\d+\.\d+)", re.MULTILINE)


def help_time(setup: Setup) -> Outcome:
    """From the start of the process to its end, after one call that is not counted."""
    run_module("bsbatch", "--help")
    seconds = [run_module("bsbatch", "--help") for _ in range(setup.sizes.starts)]
    return Outcome("help", [Row("`bsbatch --help`", HELP, seconds)])


def memory(setup: Setup) -> Outcome:
    """Peak memory of runs over a large and a small archive, by `benchmarks.memory`."""
    small, large = setup.sizes.memory
    printed = call_module("benchmarks.memory", str(small), str(large))
    row = Row(f"peak memory, {large:,} examinations with a null backend against {small}", MEMORY, [ratio_in(printed)])
    return Outcome("memory", [row], notes=["```\n" + printed.strip() + "\n```"])


def ratio_in(printed: str) -> float:
    """The ratio that `benchmarks.memory` prints.

    Raises
    ------
    ValueError
        It printed none.
    """
    found = _RATIO.search(printed)
    if found is None:
        raise ValueError("benchmarks.memory printed no line that begins with 'ratio': see benchmarks/memory.py")
    return float(found[1])
