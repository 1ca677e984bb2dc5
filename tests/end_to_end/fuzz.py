"""``python -m tests.end_to_end.fuzz``: mutated objects, from preamble to pixels, through the real command line.

Each archive holds mutated objects of every encoding, some of them in containers, and a sound one. Each run must end
by itself and in time, have a row for each file, none of a bug, and use the sound one; it must stay within its memory
and write nothing that names a patient. Names of files tell the changes. Those that may make another element of the
patient's own are not searched for the patient: nobody can tell a name that is the Manufacturer from one that was
moved there.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.archives import Scan, dataset_of, write
from tests.bombs import MIB
from tests.dicom.headers import canary
from tests.dicom.headers.mutations import mutate
from tests.dicom.objects import encode
from tests.end_to_end.bombs import Measured, measure
from tests.sources.containers.fuzz import mutate as damage
from tests.sources.storages import PACKERS

_SYNTAXES = ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian
_BATCH = 400
"""Objects of an archive."""
_LARGE, _DAMAGED = 0.1, 0.7
"""Share of objects that are as large as a scan, for the others have few pixels; and of those with damaged pixels."""
_CRATES, _IN_A_CRATE = 40, 4
"""Objects for each of which there is one container beside them, and objects in it."""
_MOST_SECONDS, _MOST_MEMORY = 10.0, 600 * MIB
"""Of a run beyond that of an archive with the sound object alone; and seconds for 400 objects that need no patience."""
_MOVES = "change_tag", "flip_bits", "swap_bytes", "fill_range", "insert_or_remove_bytes"
_SOUND = "sound"


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of mutated objects, the same for a seed."""
    draw = random.Random(seed)
    small, large = canary.originals(), list(_scans())
    for number in range(count):
        is_large = draw.random() < _LARGE
        data, syntax = draw.choice(large if is_large else small)
        lead, body = canary.open_numbered(data, syntax, number)
        if syntax.is_deflated:
            body, changes = mutate(body, draw)
            data = lead + canary.deflated(body)
        else:
            data, changes = mutate(lead + body, draw)
        if is_large and draw.random() < _DAMAGED:
            data, changes = _damage_pixels(data, draw), f"{changes} pixels"
        yield f"{number:06}-{changes.replace(' ', '-')}", data


def crates(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of containers with mutated objects; every other container is mutated, too."""
    draw, objects = random.Random(seed), mutants(_IN_A_CRATE * count, seed + 1)
    for number in range(count):
        name = draw.choice(list(PACKERS))
        data = PACKERS[name](dict(islice(objects, _IN_A_CRATE)))
        yield f"{number:06}-{name}", damage(data, draw) if number % 2 else data


@dataclass(slots=True)
class Tally:
    """What the runs were like."""

    reasons: Counter[str] = field(default_factory=Counter)
    """Objects by reason; ``used`` without one."""
    seconds: float = 0.0
    """Longest run, beyond that of the sound object alone."""
    peak: int = 0
    """Largest memory of a run, bytes beyond that of the sound object alone."""

    def add(self, found: Measured, idle: Measured) -> None:
        """Add a run."""
        self.reasons.update(reason or "used" for reason in found.rows.values())
        self.seconds, self.peak = (
            max(self.seconds, found.seconds - idle.seconds),
            max(self.peak, found.peak - idle.peak),
        )


def faults(count: int, seed: int, folder: Path, tally: Tally, threads: int = 2) -> Iterator[str]:
    """Screen mutated objects in archives of 400 and yield what is wrong.

    Parameters
    ----------
    count, seed
        Number of objects, and the seed of their changes.
    folder
        An empty folder; archives without a fault are removed from it.
    tally
        Gets what the runs were like.
    threads
        Of a run.
    """
    idle = measure(_archive(folder / "idle", []), folder / "out-idle", threads)
    files, containers = mutants(count, seed), crates(count // _CRATES, seed)
    for start in range(0, count, _BATCH):
        objects = [*islice(files, _BATCH), *islice(containers, _BATCH // _CRATES)]
        archive, out = _archive(folder / f"{start:06}", objects), folder / f"out-{start:06}"
        try:
            found = measure(archive, out, threads)
        except RuntimeError as error:
            yield f"archive {start:06}: {error}"
            continue
        tally.add(found, idle)
        here = list(_faults_of(archive, out, found, idle))
        yield from (f"archive {start:06}: {line}" for line in here)
        if not here:
            rmtree(archive)
            rmtree(out)


def _faults_of(archive: Path, out: Path, found: Measured, idle: Measured) -> Iterator[str]:
    rows = {source.partition("!")[0] for source in found.rows}
    yield from (f"{path.name} has no row" for path in archive.iterdir() if path.name not in rows)
    yield from (f"{source}: a bug" for source, reason in found.rows.items() if reason == "internal_error")
    yield from (line for line in canary.lines_with_canary(out) if not any(move in line for move in _MOVES))
    if found.rows.get(_SOUND) is not None:
        yield f"the sound scan is {found.rows[_SOUND]}"
    if found.seconds - idle.seconds > _MOST_SECONDS:
        yield f"{found.seconds:.1f} s, {idle.seconds:.1f} s without mutated objects"
    if found.peak - idle.peak > _MOST_MEMORY:
        yield f"{found.peak / MIB:.0f} MiB, {idle.peak / MIB:.0f} MiB without mutated objects"


def _archive(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    write(dataset_of(Scan(0, rows=1024)), folder / _SOUND)
    for name, data in files:
        (folder / name).write_bytes(data)
    return folder


def _scans() -> Iterator[tuple[bytes, UID]]:
    """Whole-body scans of a patient who does not exist, in every encoding."""
    for number, syntax in enumerate(_SYNTAXES, 1):
        dataset = dataset_of(Scan(number, rows=1024))
        dataset.PatientName, dataset.PatientID = f"{canary.CANARY}^{canary.CANARY}", f"{canary.CANARY} 7"
        dataset.SOPInstanceUID = dataset.StudyInstanceUID = dataset.SeriesInstanceUID = canary.NUMBER
        yield encode(dataset, syntax), syntax


def _damage_pixels(data: bytes, draw: random.Random) -> bytes:
    """Change some bytes behind the header, cut the object there, or repeat a part of it."""
    at = draw.randrange(min(len(data), 1500), len(data)) if len(data) > 1500 else len(data) // 2
    how = draw.randrange(4)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + data[at : at + 5000] + data[at:]
    length = draw.choice((1, 2, 4, 64, 4096))
    return data[:at] + (draw.randbytes(length) if how == 2 else b"\xff" * length) + data[at + length :]


def main() -> int:
    """Return 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the archives in which a fault was found")
    options = parser.parse_args()
    tally, number = Tally(), 0
    with TemporaryDirectory() as name:
        for fault in faults(options.count, options.seed, options.keep or Path(name), tally):
            number += 1
            sys.stdout.write(f"{fault}\n")
            sys.stdout.flush()
    sys.stdout.write("".join(f"{objects:6} {reason}\n" for reason, objects in tally.reasons.most_common()))
    sys.stdout.write(f"slowest archive of {_BATCH}: {tally.seconds:+.1f} s; largest: {tally.peak / MIB:+.0f} MiB\n")
    sys.stdout.write(f"{options.count} objects, seed {options.seed}, {number} faults\n")
    return bool(number)


if __name__ == "__main__":
    sys.exit(main())
