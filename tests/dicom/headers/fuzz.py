"""``python -m tests.dicom.headers.fuzz``: both header readers agree on mutated files, and raise what they may.

The fast reader returns None or the record of the pydicom reader, also where it recalls a template. `read_header` raises
nothing but `ItemError`.
"""

import argparse
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from tests.dicom.headers.mutations import mutate, originals
from tests.dicom.headers.test_fast import READINGS, agrees, read_fast

from bsbatch.dicom.headers.attributes import IsWanted
from bsbatch.dicom.headers.read import read_header
from bsbatch.errors import ItemError


def complaints(data: bytes) -> Iterator[str]:
    """Yield what is wrong with the readers' answers on a file."""
    for is_wanted in READINGS:
        if not agrees(data, is_wanted) or repr(read_fast(data, is_wanted)) != repr(read_fast(data, is_wanted)):
            yield f"the readers disagree ({is_wanted.__name__})"
        found = outcome(data, is_wanted)
        if found not in {"read", "refused"}:
            yield f"{found} ({is_wanted.__name__})"


def outcome(data: bytes, is_wanted: IsWanted) -> str:
    """``read``, ``refused``, or the name of an error that must not be."""
    try:
        read_header(BytesIO(data), len(data), is_wanted)
    except ItemError:
        return "refused"
    except Exception as error:  # what must not happen, and is reported
        return type(error).__name__
    return "read"


def mutants(count: int, seed: int) -> Iterator[tuple[bytes, str]]:
    """Yield mutated files with a description, the same for a seed."""
    draw, files = random.Random(seed), originals()
    for _ in range(count):
        yield mutate(draw.choice(files), draw)


def main() -> int:
    """Return 1 if there is a complaint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that were complained about")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    tally: Counter[str] = Counter()
    for number, (data, changes) in enumerate(mutants(options.count, options.seed)):
        tally["read by the fast reader" if read_fast(data) is not None else outcome(data, READINGS[0])] += 1
        for complaint in complaints(data):
            tally["complaints"] += 1
            sys.stdout.write(f"{number}: {complaint}: {changes}\n")
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{options.seed}-{number}.dcm").write_bytes(data)
    sys.stdout.write(", ".join(f"{count} {word}" for word, count in sorted(tally.items())) + "\n")
    return bool(tally["complaints"])


if __name__ == "__main__":
    sys.exit(main())
