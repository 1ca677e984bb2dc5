"""Objects from a PACS: ``bsbatch fetch`` against the tools of DCMTK, from one Orthanc on this machine."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from benchmarks.equality import DifferentResultsError
from benchmarks.pairing import measure_pairs
from benchmarks.results import Outcome, Row, Target, line_of
from benchmarks.setup import Setup
from pydicom import dcmread
from tests.archives import Scan, dataset_of, uid
from tests.pacs.orthanc import Orthanc, free_ports, missing, on_loopback, start_orthanc

from bsbatch.pacs.clients import open_client
from bsbatch.pacs.fetch import fetch
from bsbatch.pacs.pace import SteadyPace
from bsbatch.pacs.settings import Access, FetchConfig

DIMSE = Target(1.0, "x", True)
_OBJECTS = 4
"""Objects of each study, in one series."""
_AET, _PEER_AET = "BSBATCH", "DCMTK"
Fetch = Callable[[Path], object]
"""Fetches all studies into a new folder."""


def dimse(setup: Setup) -> Outcome:
    """C-GET and C-MOVE: search, checks and ledger on our side; one getscu or movescu for each study on the other."""
    if problem := missing() or (None if shutil.which("getscu") else "DCMTK is missing: apt-get install dcmtk"):
        raise SystemExit(problem)
    studies, rounds = setup.sizes.pacs_studies, setup.sizes.rounds
    scans = [Scan(study, instance=number + 1, rows=1024) for study in range(studies) for number in range(_OBJECTS)]
    with start_orthanc(setup.runs / "orthanc") as server:
        server.load(map(_encode, scans))
        folders = (setup.runs / f"dimse-{number}" for number in range(rounds * 4))
        rate = partial(_rate, folders=folders, number=len(scans))
        gets = measure_pairs(rate(_ours(server)), rate(_getscu(server, studies)), rounds)
        own, other = free_ports(2)
        for aet, port in ((_AET, own), (_PEER_AET, other)):
            server.introduce(aet, port)
        environment = on_loopback(setup.runs)
        moves = measure_pairs(
            rate(_ours(server, f"{_AET}:{own}")), rate(_movescu(server, studies, other, environment)), rounds
        )
    rows = [
        Row("bsbatch fetch by C-GET against getscu of DCMTK, study by study", DIMSE, [pair.ratio for pair in gets]),
        Row("bsbatch fetch by C-MOVE against movescu of DCMTK, study by study", DIMSE, [pair.ratio for pair in moves]),
    ]
    note = f"{studies} studies of {_OBJECTS} objects of 1 MiB, objects/s; both sides wrote all {len(scans)} each time."
    return Outcome("dimse", rows, [line_of("getscu", gets), line_of("movescu", moves)], [note])


def _encode(scan: Scan) -> bytes:
    buffer = BytesIO()
    dataset_of(scan).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _ours(server: Orthanc, move_to: str | None = None) -> Fetch:
    def run(folder: Path) -> None:
        config = FetchConfig(f"dimse:{server.dimse}", folder, access=Access(aet=_AET, move_to=move_to))
        fetch(config, open_client(config, SteadyPace()), lambda _: None)

    return run


def _getscu(server: Orthanc, studies: int) -> Fetch:
    return partial(_dcmtk, server, studies, ["getscu", "-S"], None)


def _movescu(server: Orthanc, studies: int, port: int, environment: dict[str, str]) -> Fetch:
    command = ["movescu", "-S", "-aet", _PEER_AET, "-aem", _PEER_AET, "+P", str(port)]
    return partial(_dcmtk, server, studies, command, environment)


def _dcmtk(server: Orthanc, studies: int, command: list[str], environment: dict[str, str] | None, folder: Path) -> None:
    folder.mkdir()
    for study in range(studies):
        keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('study', study)}"]
        peer = ["-aec", server.aet, "127.0.0.1", str(server.dicom_port)]
        subprocess.run(
            [*command, *keys, "-od", str(folder), *peer], env=environment, check=True, capture_output=True, timeout=600
        )


def _rate(run: Fetch, folders: Iterator[Path], number: int) -> Callable[[], float]:
    """Measure objects per second; each fetch must write all objects."""

    def measure() -> float:
        folder = next(folders)
        started = time.perf_counter()
        run(folder)
        seconds = time.perf_counter() - started
        written = {_sop_uid(path) for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"}
        if len(written - {None}) != number:
            raise DifferentResultsError(f"{len(written)} of {number} objects were fetched: their times mean nothing")
        shutil.rmtree(folder)
        return number / seconds

    return measure


def _sop_uid(path: Path) -> str | None:
    found = dcmread(path, stop_before_pixels=True, force=True).get("SOPInstanceUID")
    return None if found is None else str(found)
