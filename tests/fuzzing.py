"""Corpora and findings of fuzzers.

A corpus is a text file with an input on each line. All are synthetic: `tests.guided` mutates files that the tests make.
"""

import base64
import shlex
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path


def read_corpus(path: Path) -> list[bytes]:
    """Read the inputs of a corpus."""
    return [zlib.decompress(base64.b64decode(line)) for line in path.read_text(encoding="ascii").splitlines()]


def write_corpus(path: Path, inputs: Iterable[bytes]) -> None:
    """Write inputs, the smallest first."""
    ordered = sorted(inputs, key=lambda data: (len(data), data))
    lines = [base64.b64encode(zlib.compress(data, 9)).decode("ascii") for data in ordered]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def report(finding: Path, repeat: Iterable[str]) -> None:
    """Write the command that shows a finding again, to the terminal and beside it."""
    command = shlex.join([*repeat, str(finding)])
    finding.with_name(f"{finding.name}.sh").write_text(f"{command}\n", encoding="utf-8")
    sys.stdout.write(f"finding: {command}\n")
