"""``python -m tests.sources.containers.guided``: `tests.sources.containers.fuzz` with inputs that reach new branches.

`tests.guided` starts it, with the arguments of libFuzzer. It needs atheris, which is not a package of ``.venv``.
"""

import random
import sys
import warnings

import atheris

with atheris.instrument_imports(include=["bsbatch.sources"]):
    from tests.sources.containers.fuzz import complaints, mutate


def check(data: bytes) -> None:
    """Raise if there is a complaint about a container."""
    found = list(complaints(data))
    assert not found, found


def change(data: bytes, most: int, seed: int) -> bytes:
    """Mutate a container in a few places, or as libFuzzer does."""
    draw = random.Random(seed)
    return mutate(data, draw)[:most] if data and draw.random() < 0.5 else atheris.Mutate(data, most)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    program = f"{sys.executable} -m tests.sources.containers.guided"  # that libFuzzer starts again when it merges
    atheris.Setup([program, *sys.argv[1:]], check, custom_mutator=change)
    atheris.Fuzz()
