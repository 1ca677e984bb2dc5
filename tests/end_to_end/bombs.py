"""Runs the real command line over bombs and sound scans: ``python -m tests.end_to_end.bombs`` prints a table.

Peak memory is the sum of the proportional set sizes (Pss of ``/proc/*/smaps_rollup``) of the process and all its
children, sampled every 10 ms. A bomb may add 10 seconds to a run, and all
processes together 600 MiB.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.archives import Scan, dataset_of
from tests.archives import write as write_scan
from tests.bombs import BOMBS, MIB, write
from tests.end_to_end.tables import objects

_SOUND = 24
_SYNTAXES = ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian
_PERIOD = 0.01
_MOST_MEMORY, _MOST_SECONDS = 600 * MIB, 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A run of the command line."""

    seconds: float
    peak: int
    """Bytes."""
    rows: dict[str, str | None]
    """Object -> reason."""


def write_sound(archive: Path, number: int = _SOUND) -> None:
    """Write scans of several encodings, so that decoders run without bombs, too."""
    for study in range(number):
        write_scan(_encoded(study, _SYNTAXES[study % len(_SYNTAXES)]), archive / f"sound-{study:03d}.dcm")


def write_bombs(archive: Path, kind: str, copies: int) -> None:
    """Write bombs of a kind."""
    for copy in range(copies):
        study = 1000 + 100 * copy + list(BOMBS).index(kind)
        write(BOMBS[kind].make(study), archive / f"{kind}-{copy}.dcm")


def _encoded(study: int, syntax: UID) -> FileDataset:
    dataset = dataset_of(Scan(study, rows=1024))
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def measure(archive: Path, out: Path, threads: int) -> Measured:
    """Run ``bsbatch run`` with the fake backend, and follow its memory."""
    options = ["--backend", "fake", "--out", out, "--threads", threads, "--quiet", "--max-error-rate", "1"]
    command = [sys.executable, "-m", "bsbatch", "run", archive, *options]
    begin, peak = time.monotonic(), 0
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_memory, _tree(process.pid))))
            time.sleep(_PERIOD)
        assert process.stderr is not None
        errors = process.stderr.read()
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {errors}")
    return Measured(time.monotonic() - begin, peak, {row["source"]: row["reason"] for row in objects(out)})


def _tree(process: int) -> Iterator[int]:
    yield process
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return
    for child in children:
        yield from _tree(child)


def _memory(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def find_fault(kinds: list[str], measured: Measured, idle: Measured) -> str:
    """Return what is wrong with a run; nothing if a bomb did what it may."""
    for kind in kinds:
        reasons = {reason for source, reason in measured.rows.items() if source.startswith(kind + "-")}
        if not reasons <= set(BOMBS[kind].reasons) or not reasons:
            return f"{kind}: the reason is another"
    if any(reason for source, reason in measured.rows.items() if source.startswith("sound")):
        return "a sound scan failed"
    if measured.peak - idle.peak > _MOST_MEMORY:
        return "too much memory"
    bombs = sum(not source.startswith("sound") for source in measured.rows)
    return "too slow" if measured.seconds - idle.seconds > _MOST_SECONDS * max(bombs, 1) else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=list(BOMBS), help="one kind instead of all")
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    kinds = [[options.kind]] if options.kind else [[], *([kind] for kind in BOMBS), list(BOMBS)]
    faults = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_sound(folder / "idle")
        idle = measure(folder / "idle", folder / "out-idle", options.threads)
        for number, group in enumerate(kinds):
            archive = folder / str(number)
            write_sound(archive)
            for kind in group:
                write_bombs(archive, kind, options.copies if len(group) == 1 else 1)
            measured = measure(archive, folder / f"out-{number}", options.threads)
            faults += [fault] if (fault := find_fault(group, measured, idle)) else []
            _print(group, measured, idle, fault)
            for path in archive.iterdir():
                path.unlink()
    sys.exit("; ".join(faults) or None)


def _print(kinds: list[str], measured: Measured, idle: Measured, fault: str) -> None:
    reasons = {str(reason) for source, reason in measured.rows.items() if not source.startswith("sound")}
    label = (kinds[0] if len(kinds) == 1 else "all kinds") if kinds else "none"
    shown = " ".join(sorted(reasons)) if len(kinds) == 1 else f"{len(reasons)} reasons"
    more = (measured.peak - idle.peak) / MIB
    print(
        f"{label:30} {shown:26} {measured.seconds:6.1f} s {measured.peak / MIB:6.0f} MiB {more:+6.0f} MiB  {fault}",
        flush=True,
    )


if __name__ == "__main__":
    main()
