"""``python -m tests.dicom.headers.fuzz``: both header readers agree on mutated files, and raise what they may.

The fast reader returns None or the record of the pydicom reader, also where it recalls a template. `read_header` raises
nothing but `ItemError`.
"""

import argparse
import random
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from tests.dicom.headers.mutations import mutate, originals
from tests.dicom.headers.test_fast import READINGS, agrees, read_fast
from tests.fuzzing import report

from bsbatch.dicom.codestream import form_of
from bsbatch.dicom.fragments import read_fragments
from bsbatch.dicom.headers.read import HEAD, header_in, read_header
from bsbatch.errors import ItemError

REPEAT = [sys.executable, "-m", "tests.dicom.headers.fuzz", "--file"]
"""Command that shows a finding again, without its path."""


def complaints(data: bytes) -> Iterator[str]:
    """Yield what is wrong with the readers' answers on a file."""
    for is_wanted in READINGS:
        is_recalled = answer(read_fast, data, is_wanted) == answer(read_fast, data, is_wanted)
        if answer(agrees, data, is_wanted) != repr(True) or not is_recalled:
            yield f"the readers disagree ({is_wanted.__name__})"
        found = answer(read_header, BytesIO(data), len(data), is_wanted)
        if answer(header_in, data[:HEAD], len(data), is_wanted) not in {repr(None), found}:
            yield f"the head disagrees ({is_wanted.__name__})"
        yield from _errors(found)
    yield from _errors(answer(form_of, data))
    yield from _errors(answer(read_fragments, BytesIO(data), 0, len(data)))


def answer(read: Callable[..., object], *arguments: object) -> str:
    """Result of a reader, ``refused`` with its reason, or ``raised`` with an error that must not be."""
    try:
        return repr(read(*arguments))
    except ItemError as error:
        return f"refused {error.reason}"
    except Exception as error:  # what must not happen, and is reported
        return f"raised {type(error).__name__}"


def kind_of(data: bytes) -> str:
    """Reader that reads a file, or ``refused``."""
    if answer(read_fast, data) != repr(None):
        return "read by the fast reader"
    found = answer(read_header, BytesIO(data), len(data))
    return "refused" if found.startswith("refused") else "read by pydicom"


def _errors(found: str) -> Iterator[str]:
    if found.startswith("raised"):
        yield found


def mutants(count: int, seed: int) -> Iterator[tuple[bytes, str]]:
    """Yield mutated files with a description, the same for a seed."""
    draw, files = random.Random(seed), originals()
    for _ in range(count):
        yield mutate(draw.choice(files), draw)


def keep(path: Path, data: bytes) -> None:
    """Write a finding with the command that shows it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    report(path, REPEAT)


def main() -> int:
    """Return 1 if there is a complaint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that were complained about")
    parser.add_argument("--file", type=Path, help="check this file, without a mutation")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tally: Counter[str] = Counter()
    drawn = mutants(options.count, options.seed)
    for number, (data, changes) in enumerate([(options.file.read_bytes(), "")] if options.file else drawn):
        tally[kind_of(data)] += 1
        found = list(complaints(data))
        tally["complaints"] += len(found)
        sys.stdout.writelines(f"{number}: {complaint}: {changes}\n" for complaint in found)
        if found and options.keep is not None:
            keep(options.keep / f"headers-{options.seed}-{number}.dcm", data)
    sys.stdout.write(", ".join(f"{count} {word}" for word, count in sorted(tally.items()) if count) + "\n")
    return bool(tally["complaints"])


if __name__ == "__main__":
    sys.exit(main())
