"""``python -m tests.pacs.kills [--dimse]``: ``kill -9`` of ``bsbatch fetch`` at random moments, against a real Orthanc.

The mirror must be that of an undisturbed command, name by name and byte by byte, one row for each study and object.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.archives import Scan
from tests.end_to_end.tables import bsbatch
from tests.pacs.conftest import encode_ct, encode_scan
from tests.pacs.orthanc import Orthanc, start_orthanc

from bsbatch.pacs.ledger import LEDGER, OBJECTS, STUDIES
from bsbatch.store.parts import all_rows

_STUDIES, _CT = 120, 20
_RATE = "120"
"""Objects a second: an undisturbed command takes a second, so that kills come in the middle."""


def fill(server: Orthanc, studies: int = _STUDIES) -> None:
    """Store scans of one object, of a series of two, and CT."""
    scans = [Scan(study) for study in range(studies)] + [Scan(study, instance=2) for study in range(0, studies, 3)]
    server.load(map(encode_scan, scans))
    server.load(map(encode_ct, range(_CT)))


def differences(server: Orthanc, source: str, folder: Path, kills: int, seed: int) -> list[str]:
    """Return what mirrors that were killed again and again have otherwise than an undisturbed one.

    Parameters
    ----------
    server
        See `fill`.
    source
        Its address.
    folder
        An empty folder.
    kills
        Number of kills; a new mirror is begun when one is complete.
    """
    calm, luck, found, left, mirrors = folder / "calm", random.Random(seed), list[str](), kills, 0
    _fetch(source, calm)
    while left > 0:
        rough = folder / f"{mirrors}"
        while left > 0 and _kill(source, rough, luck):
            left -= 1
        time.sleep(0.3)  # the server may still read for a client that is gone
        server.forget()
        before = sum(name.endswith(".dcm") for name in _files(rough))
        _fetch(source, rough)
        found += [f"mirror {mirrors}: {line}" for line in _differences(calm, rough)]
        if server.read_whole().total() != len(_files(rough)) - before:
            found.append(f"mirror {mirrors}: objects that were there are asked for again")
        mirrors += 1
    return found


def _differences(calm: Path, rough: Path) -> list[str]:
    found = [] if _files(calm) == _files(rough) else ["other names or bytes"]
    for table, key in ((STUDIES, "study_uid"), (OBJECTS, "sop_uid")):
        rows = [
            sorted((row[key], row["status"]) for row in all_rows(path / LEDGER / table, [key, "status"]))
            for path in (calm, rough)
        ]
        if rows[0] != rows[1]:
            found.append(f"other rows of {table}: {len(rows[1])} in place of {len(rows[0])}")
    return found


def _files(mirror: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in mirror.glob("objects/*/*")}


def _command(source: str, mirror: Path) -> list[str]:
    return ["fetch", source, str(mirror), "--quiet"]


def _fetch(source: str, mirror: Path) -> None:
    done = bsbatch(*_command(source, mirror))
    assert done.returncode == 0, done.stderr


def _kill(source: str, mirror: Path, luck: random.Random) -> bool:
    """Kill a command a moment after it has written a random number of files; True if it was still running."""
    goal = len(_files(mirror)) + luck.randint(0, 30)
    process = subprocess.Popen([sys.executable, "-m", "bsbatch", *_command(source, mirror), "--rate", _RATE])
    try:
        while len(list(mirror.glob("objects/*/*.dcm"))) < goal and process.poll() is None:
            time.sleep(0.005)
        time.sleep(luck.uniform(0.0, 0.05) if goal else luck.uniform(0.0, 2.0))
        return process.poll() is None
    finally:
        process.kill()
        process.wait()


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dimse", action="store_true", help="C-FIND and C-GET in place of DICOMweb")
    given = parser.parse_args()
    with TemporaryDirectory() as folder, start_orthanc(Path(folder) / "orthanc") as server:
        fill(server)
        source = f"dimse:{server.dimse}" if given.dimse else f"dicomweb:{server.dicomweb}"
        found = differences(server, source, Path(folder) / "mirrors", given.count, given.seed)
    sys.stdout.write("\n".join([*found, f"{given.count} kills, {len(found)} differences"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(_main())
