"""Objects from a PACS over DICOMweb, against dicomweb-client as it comes, from one Orthanc on this machine."""

import shutil
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from benchmarks.equality import DifferentResultsError
from benchmarks.kit import write_archive
from benchmarks.memory import PLACEHOLDER, peak_of, with_placeholder
from benchmarks.pairing import Pair, measure_pairs
from benchmarks.results import Outcome, Row, Target, line_of
from benchmarks.setup import Setup
from pydicom import Dataset, dcmread
from tests.archives import Scan, dataset_of
from tests.pacs.orthanc import missing, start_orthanc
from tests.pacs.scripted import Parameters, Reply, as_json, serve

from bsbatch.pacs.clients import open_client
from bsbatch.pacs.dicomweb import DicomWebClient
from bsbatch.pacs.fetch import fetch
from bsbatch.pacs.pace import SteadyPace
from bsbatch.pacs.protocol import PacsObject, PacsStudy, StudyFilter
from bsbatch.pacs.settings import FetchConfig
from bsbatch.store.parts import all_rows

RETRIEVE, FETCH, MEMORY = Target(10.0, "x", True), Target(1.0, "x", True), Target(1.1, "x", False)
_SHARE, _STUDIES_SHARE = 4, 20
"""Objects are a fourth of those of the intake; studies for the memory are fewer, since each takes requests."""
_UNITS = "objects of 2 x 1024 x 256 with phantom counts, objects/s."
Found = list[tuple[PacsStudy, PacsObject]]


def dicomweb(setup: Setup) -> Outcome:
    """Retrieval alone, on one thread; a whole ``fetch``; and its memory by the number of studies."""
    if problem := missing():
        raise DifferentResultsError(problem)
    archive, number, rounds = setup.runs / "dicomweb", setup.sizes.intake_scans // _SHARE, setup.sizes.rounds
    write_archive(archive, number)
    with start_orthanc(setup.runs / "orthanc") as server:
        server.load(path.read_bytes() for path in sorted(archive.rglob("*.dcm")))
        address, folder = server.dicomweb, setup.runs / "mirror"
        with DicomWebClient(address, FetchConfig("dicomweb:x", folder).access, SteadyPace()) as client:
            found = [(study, item) for study in client.studies(StudyFilter()) for item in client.objects(study)]
            theirs = _theirs(address, found)
            _check(_ours(client, found)(), theirs(), number)
            pairs = measure_pairs(_rate(_ours(client, found)), _rate(theirs), rounds)
        whole = measure_pairs(_rate(lambda: _mirror(address, folder, number)), _rate(theirs), rounds)
    rows = [
        Row("WADO-RS retrieve against dicomweb-client with its defaults, one thread", RETRIEVE, _ratios(pairs)),
        Row("`bsbatch fetch`, from search to flushed files, against dicomweb-client's retrieve", FETCH, _ratios(whole)),
        _memory(setup),
    ]
    return Outcome("dicomweb", rows, [line_of("retrieve", pairs), line_of("fetch", whole)], [f"{number} {_UNITS}"])


def _ratios(pairs: list[Pair]) -> list[float]:
    return [pair.ratio for pair in pairs]


def _ours(client: DicomWebClient, found: Found) -> Callable[[], dict[str, Dataset | bytes]]:
    def run() -> dict[str, Dataset | bytes]:
        return {uid: data for study, item in found for uid, data in client.retrieve(study, [item])}

    return run


def _theirs(address: str, found: Found) -> Callable[[], dict[str, Dataset | bytes]]:
    from dicomweb_client.api import DICOMwebClient  # noqa: PLC0415 - a peer, which tests do not need

    client = DICOMwebClient(address)

    def run() -> dict[str, Dataset | bytes]:
        return {
            item.sop_uid: client.retrieve_instance(study.uid, item.series_uid, item.sop_uid) for study, item in found
        }

    return run


def _mirror(address: str, folder: Path, number: int) -> list[Path]:
    """Fetch into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    config = FetchConfig(f"dicomweb:{address}", folder)
    fetch(config, open_client(config, SteadyPace()), lambda _: None)
    written = list(folder.glob("objects/*/*.dcm"))
    if len(written) != number:
        raise DifferentResultsError(f"{len(written)} of {number} objects were fetched: their time means nothing")
    return written


def _check(ours: dict[str, Dataset | bytes], theirs: dict[str, Dataset | bytes], number: int) -> None:
    """Compare both sides, element by element."""
    same = ours.keys() == theirs.keys() and len(ours) == number
    if not same or any(dcmread(BytesIO(data)) != theirs[uid] for uid, data in ours.items() if isinstance(data, bytes)):
        raise DifferentResultsError("bsbatch and dicomweb-client retrieved other objects: their times mean nothing")


def _rate(run: Callable[[], dict[str, Dataset | bytes] | list[Path]]) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        return len(run()) / (time.perf_counter() - started)

    return measure


def _memory(setup: Setup) -> Row:
    """Peak memory of ``bsbatch fetch`` from a server with many studies, against one with few."""
    small, large = (studies // _STUDIES_SHARE for studies in setup.sizes.memory)
    peaks = [_peak(setup.runs / f"mirror-{studies}", studies) for studies in (small, large)]
    return Row(f"peak memory of `bsbatch fetch`, {large:,} studies against {small}", MEMORY, [peaks[1] / peaks[0]])


def _peak(folder: Path, studies: int) -> float:
    data = with_placeholder(dataset_of(Scan(0, rows=32, columns=16)), 0)
    kind = 'multipart/related; type="application/dicom"; boundary=x'

    def answer(path: str, query: Parameters) -> Reply:
        number = path.split("/")[1][-12:] if "/" in path else ""
        uids = {tag: {"Value": [f"2.25.{at}{number}"]} for tag, at in (("0020000E", 2), ("00080018", 30))}
        if "/instances/" in path:
            return Reply(body=b"--x\r\n\r\n" + data.replace(PLACEHOLDER, number.encode()) + b"\r\n--x--", kind=kind)
        if number:
            return as_json({**uids, "00080060": {"Value": ["NM"]}, "00080008": {"Value": ["", "", "WHOLE BODY"]}})
        first = int(query["offset"])
        page = range(first, min(studies, first + int(query["limit"])))
        return as_json(*({"0020000D": {"Value": [f"2.25.1{study:012d}"]}} for study in page))

    with serve(answer) as server:
        peak = peak_of(["fetch", f"dicomweb:{server.address}", str(folder), "--quiet"])
    rows = list(all_rows(folder / "ledger" / "objects", ["status"]))
    if len(rows) != studies or any(row["status"] != "fetched" for row in rows):
        raise DifferentResultsError(f"{len(rows)} of {studies} studies were fetched: the memory means nothing")
    return peak
