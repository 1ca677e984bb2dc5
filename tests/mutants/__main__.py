"""``python -m tests.mutants ROOM``: does a test fail if a function of a room is changed?

Prints each mutant as it is tried, and at the end the survivors that `equivalent.toml` does not name, and the score.
Results go to ``.mutants/ROOM.jsonl``; the command goes on where it was stopped. Code that runs on import, signatures,
decorators and compiled code are not changed.
"""

import argparse
import hashlib
import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.mutants.mutant import ENGINE, Mutant, mutants_of
from tests.mutants.trial import Trial

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
_RUNS = ["tests/end_to_end/test_resume.py", *sorted(map(str, (ROOT / "tests/end_to_end").glob("test_field_*.py")))]
_HISTORIES = "tests/end_to_end/test_histories.py"
TESTS = {
    "dicom": ["tests/dicom", "tests/pipeline", *_RUNS],
    "imaging": ["tests/imaging", "tests/native/test_view_pairs.py", "tests/pipeline", *_RUNS],
    "pipeline": ["tests/pipeline", "tests/run", *_RUNS, _HISTORIES],
    "store": [
        "tests/store",
        "tests/sinks",
        "tests/run",
        "tests/end_to_end/test_hostile_folders.py",
        *_RUNS,
        _HISTORIES,
    ],
    "host": [
        "tests/host",
        "tests/sources",
        "tests/store",
        "tests/pipeline/test_internal_errors.py",
        "tests/cuda/test_worker.py",
    ],
}
"""The tests of each room: its own, and quick ones of whole runs."""
_OPTIONS = ["-sq", "--hypothesis-profile=ci", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"]
_KILLED, _UNTRIED = {"killed", "timeout"}, {"on import", "impossible"}


def main() -> None:
    """Try the mutants of a room that were not tried yet; print the survivors and the score."""
    options = _options()
    mutants = [mutant for path in sorted((ENGINE / options.room).rglob("*.py")) for mutant in mutants_of(path)]
    mutants.sort(key=lambda mutant: hashlib.sha256(f"{options.seed} {mutant.name}".encode()).digest())
    drawn = mutants[: options.sample]
    log = ROOT / f".mutants/{options.room}.jsonl"
    log.parent.mkdir(exist_ok=True)
    tried: dict[str, str] = dict(map(json.loads, log.read_text().splitlines())) if log.exists() else {}
    settled = {name for name, result in tried.items() if result in _KILLED} | set(_equivalent(options.room))
    done = settled & set(tried) if options.again else set(tried)

    def note(mutant: Mutant, result: str) -> None:
        tried[mutant.name] = result
        print(f"{result}: {mutant.name}", flush=True)
        with log.open("a") as stream:
            stream.write(json.dumps([mutant.name, result]) + "\n")

    left = [mutant for mutant in drawn if mutant.name not in done]
    if left:
        with TemporaryDirectory() as folder:
            trial = Trial(left, note, Path(folder))
            pytest.main([*_OPTIONS, f"--basetemp={folder}/tests", *TESTS[options.room]], plugins=[trial])
    results = {mutant.name: tried[mutant.name] for mutant in drawn if mutant.name in tried}
    print("\n".join(_report(options.room, results, len(mutants))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("room", choices=TESTS)
    parser.add_argument("--sample", type=int, help="number of mutants, drawn at random; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of the sample; a larger one includes a smaller one")
    parser.add_argument(
        "--again",
        action="store_true",
        help="try again those that survived and are not equivalent, after a change of the tests",
    )
    return parser.parse_args()


def _equivalent(room: str) -> dict[str, str]:
    reasons: dict[str, str] = tomllib.loads(EQUIVALENT.read_text()).get(room, {})
    return reasons


def _report(room: str, results: dict[str, str], of: int) -> Iterator[str]:
    """Yield the survivors that are not equivalent, and the score."""
    equivalent = _equivalent(room)
    tried = {name: result for name, result in results.items() if result not in _UNTRIED}
    alive = {name: result for name, result in tried.items() if result not in _KILLED}
    yield from (f"{result}: {name}" for name, result in alive.items() if name not in equivalent)
    same, killed = sum(name in equivalent for name in alive), len(tried) - len(alive)
    low, high = wilson(killed, len(tried) - same)
    yield f"{room}: {len(tried)} of {of} mutants, {killed} killed, {same} equivalent, {len(alive) - same} survived"
    yield f"{killed / (len(tried) - same):.1%} of those that are not equivalent ({low:.1%} to {high:.1%})"


def wilson(part: int, whole: int) -> tuple[float, float]:
    """95 % interval of a proportion. Source: Wilson, J Am Stat Assoc 1927;22:209-212."""
    z, share = 1.96, part / whole
    centre, spread = share + z * z / (2 * whole), z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole**2))
    return (centre - spread) / (1 + z * z / whole), (centre + spread) / (1 + z * z / whole)


if __name__ == "__main__":
    main()
