"""What ``make demo-model`` trains on, and what it tests with."""

import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def commands() -> list[list[str]]:
    """Every ``bsbatch`` and ``bsbatch-build`` that it calls, as words."""
    arguments = ["make", "--dry-run", "--no-print-directory", "demo-model", "MADE=anew"]
    told = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = map(shlex.split, told.stdout.replace("\\\n", " ").splitlines())
    return [[Path(words[0]).name, *words[1:]] for words in lines if words and "/bin/bsbatch" in words[0]]


def options(words: list[str], name: str) -> set[str]:
    return {words[place + 1] for place, word in enumerate(words) if word == name}


def test_what_it_is_trained_on_is_no_part_of_what_it_is_tested_on() -> None:
    called = commands()
    sets = {words[2]: words for words in called if words[:2] == ["bsbatch-build", "phantom"]}
    (tested,) = [Path(words[2]).parent for words in called if words[:2] == ["bsbatch", "run"]]
    trained = {str(Path(words[2]).parent) for words in called if words[:2] == ["bsbatch-build", "train"]}
    assert trained == sets.keys() - {str(tested)}
    assert options(sets[str(tested)], "--centre") == {"C"}
    assert all(options(sets[folder], "--centre") == {"A", "B"} for folder in trained)
    assert len(set.union(*(options(words, "--seed") for words in sets.values()))) == len(sets)
    assert not any(options(words, "--difficulty") for words in sets.values())
