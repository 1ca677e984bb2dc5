"""``python -m tests.dicom.headers.guided``: `tests.dicom.headers.fuzz` with inputs that reach new branches.

`tests.guided` starts it, with the arguments of libFuzzer. It needs atheris, which is not a package of ``.venv``.
"""

import random
import sys
import warnings

import atheris

with atheris.instrument_imports(include=["bsbatch.dicom"]):
    from tests.dicom.headers.fuzz import complaints
    from tests.dicom.headers.mutations import mutate


def check(data: bytes) -> None:
    """Raise if there is a complaint about a file."""
    found = list(complaints(data))
    assert not found, found


def change(data: bytes, most: int, seed: int) -> bytes:
    """Mutate a file with the structure of its elements in view, or as libFuzzer does."""
    draw = random.Random(seed)
    return mutate(data, draw)[0][:most] if draw.random() < 0.5 else atheris.Mutate(data, most)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    program = f"{sys.executable} -m tests.dicom.headers.guided"  # that libFuzzer starts again when it merges
    atheris.Setup([program, *sys.argv[1:]], check, custom_mutator=change)
    atheris.Fuzz()
