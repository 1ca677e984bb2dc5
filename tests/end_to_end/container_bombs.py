"""Runs the real command line over hostile containers: ``python -m tests.end_to_end.container_bombs`` prints a table.

Memory is measured, and limited, as in `tests.end_to_end.bombs`. Each container lies beside a sound one, which must be
scored. ``--size 50`` makes those of many members 50 times as large: a million.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bombs import MIB
from tests.container_bombs import HOSTILE
from tests.end_to_end.bombs import Measured, measure, write_sound
from tests.sources.storages import PACKERS

MOST_MEMORY, MOST_SECONDS = 600 * MIB, 20.0
_SECONDS_PER_SIZE = 20.0


def write_archive(archive: Path, kinds: list[str], size: int = 1) -> None:
    """Write sound scans as files and in a zip, and a container of each kind."""
    write_sound(archive, 2)
    sound = {path.name: path.read_bytes() for path in archive.iterdir()}
    (archive / "sound.zip").write_bytes(PACKERS["deflated.zip"](sound))
    for kind in kinds:
        HOSTILE[kind].make(archive / f"{kind}{HOSTILE[kind].suffix}", size)


def find_fault(kinds: list[str], found: Measured, idle: Measured, size: int = 1) -> str:
    """Return a fault of a run; nothing if each container ended as the rows that it must have."""
    for kind in kinds:
        hostile = HOSTILE[kind]
        reasons = [reason for source, reason in found.rows.items() if source.startswith(kind + hostile.suffix)]
        if not set(reasons) <= hostile.reasons:
            return f"{kind}: the reasons are {sorted({str(reason) for reason in reasons})}"
        if len(reasons) != hostile.rows + (size - 1) * hostile.per_size:
            return f"{kind}: {len(reasons)} rows"
    if any(reason not in {None, "duplicate_view"} for source, reason in found.rows.items() if source[:5] == "sound"):
        return "a sound scan failed"
    if found.peak - idle.peak > MOST_MEMORY:
        return "too much memory"
    most = MOST_SECONDS * len(kinds) + _SECONDS_PER_SIZE * (size - 1)
    return "too slow" if found.seconds - idle.seconds > most else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=list(HOSTILE), help="one kind instead of all")
    parser.add_argument("--size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    faults = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_archive(folder / "idle", [])
        idle = measure(folder / "idle", folder / "out-idle", options.threads)
        for kind in [options.kind] if options.kind else HOSTILE:
            write_archive(folder / kind, [kind], options.size)
            found = measure(folder / kind, folder / f"out-{kind}", options.threads)
            fault = find_fault([kind], found, idle, options.size)
            faults += [fault] if fault else []
            more = (found.peak - idle.peak) / MIB
            print(f"{kind:28} {len(found.rows):8} rows {found.seconds:6.1f} s {more:+6.0f} MiB  {fault}", flush=True)
    sys.exit("; ".join(faults) or None)


if __name__ == "__main__":
    main()
