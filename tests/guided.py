"""``python -m tests.guided``: coverage-guided fuzzing of compiled code, and of the readers of headers and containers.

The first needs clang, the others atheris.

libFuzzer draws inputs that reach new branches. A target ends at its first finding. Its inputs stay in the folder and
begin the next run. With ``--learn``, the fewest of them that reach every branch replace the corpora of ``make test``.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.dicom.headers.fuzz import REPEAT
from tests.dicom.headers.mutations import originals
from tests.fuzzing import read_corpus, report, write_corpus
from tests.native.test_corpus import SANITIZED
from tests.sources.containers import fuzz as containers

from bsbatch.native.library import LIBRARY

_TESTS = Path(__file__).parent
_GUIDED = "-fsanitize=fuzzer,float-divide-by-zero,float-cast-overflow", "-fno-sanitize-coverage=trace-cmp", "-O2"
"""Without a call for each comparison of pixels, inputs are five times as fast."""
_LIMITS = "-max_len=12000", "-timeout=10", "-rss_limit_mb=1024"
"""Bytes of an input; seconds and megabytes that it may cost."""
_FEWEST = "-merge=1", "-set_cover_merge=1", "-use_counters=0", "-max_len=4096"
"""Keep the fewest inputs that reach every branch, however often; small ones."""


class Target(NamedTuple):
    """A program that takes the arguments of libFuzzer."""

    name: str
    program: list[str]
    repeat: list[str]
    """Command that shows a finding again, without its path."""
    corpus: Path
    originals: list[bytes]
    """Inputs to begin with, beside the corpus."""


def compile_views(folder: Path) -> Target:
    """Compile ``fuzz_views.c`` with libFuzzer and sanitizers."""
    program, source = folder / "fuzz_views", _TESTS / "native/fuzz_views.c"
    subprocess.run(["clang", *SANITIZED, *_GUIDED, f"-I{LIBRARY.parent}", "-o", program, source, "-lm"], check=True)
    return Target("views", [str(program)], [str(program)], _TESTS / "native/views.corpus", [])


def header_reader() -> Target:
    """Return the header reader in another process, because atheris changes what it imports."""
    program = [
        sys.executable,
        "-m",
        "tests.dicom.headers.guided",
        "-mutate_depth=1",
    ]  # most files with more are refused
    return Target("headers", program, REPEAT, _TESTS / "dicom/headers/headers.corpus", originals())


def container_reader() -> Target:
    """Return the readers of containers in another process."""
    program = [sys.executable, "-m", "tests.sources.containers.guided"]
    corpus = _TESTS / "sources/containers/containers.corpus"
    return Target("containers", program, containers.REPEAT, corpus, containers.originals())


def fuzz(target: Target, folder: Path, options: Sequence[str]) -> bool:
    """Fuzz a target; return False if it failed, and report all findings, also those of earlier runs."""
    inputs = folder / target.name
    inputs.mkdir(exist_ok=True)
    for number, data in enumerate([*read_corpus(target.corpus), *target.originals]):
        (inputs / f"known-{number}").write_bytes(data)
    findings = f"-artifact_prefix={folder}/{target.name}-"
    done = subprocess.run([*target.program, *_LIMITS, *options, findings, inputs], check=False)
    for path in sorted(folder.glob(f"{target.name}-*")) if done.returncode else ():
        if path.suffix != ".sh":
            report(path, target.repeat)
    return done.returncode == 0


def learn(target: Target, folder: Path) -> None:
    """Replace the corpus of a target by the fewest of its inputs."""
    with TemporaryDirectory() as fewest:
        subprocess.run([*target.program, *_FEWEST, fewest, folder / target.name], check=True)
        write_corpus(target.corpus, (path.read_bytes() for path in Path(fewest).iterdir()))


def main() -> int:
    """Return 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("fuzz"), help="for findings and inputs")
    parser.add_argument("--learn", action="store_true", help="replace the corpora of the tests")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    targets = compile_views(options.folder), header_reader(), container_reader()
    limits = f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-print_final_stats=1"
    is_sound = [fuzz(target, options.folder, limits) for target in targets]
    for target in targets if options.learn else ():
        learn(target, options.folder)
    return int(not all(is_sound))


if __name__ == "__main__":
    sys.exit(main())
