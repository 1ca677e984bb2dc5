"""``bsbatch fetch dimse:...``, the whole command, against a real Orthanc."""

import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from tests.archives import Scan
from tests.end_to_end.tables import bsbatch
from tests.pacs.conftest import CT_SLICES, encode_ct, encode_scan
from tests.pacs.orthanc import Orthanc, free_ports, start_orthanc

from bsbatch.pacs.ledger import LEDGER, OBJECTS
from bsbatch.pacs.mirror import sop_uid_of
from bsbatch.store.parts import all_rows


def datasets(mirror: Path) -> dict[str, pydicom.Dataset]:
    """Objects of a mirror by the name of their file."""
    return {path.name: pydicom.dcmread(BytesIO(path.read_bytes())) for path in mirror.glob("objects/*/*.dcm")}


@pytest.fixture(scope="module")
def by_dicomweb(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror") / "dicomweb"
    assert bsbatch("fetch", f"dicomweb:{orthanc.dicomweb}", folder).returncode == 0
    return folder


@pytest.mark.parametrize("way", ["get", "move"])
def test_the_mirror_is_that_of_dicomweb(orthanc: Orthanc, by_dicomweb: Path, tmp_path: Path, way: str) -> None:
    (port,) = free_ports(1)
    orthanc.introduce("RECEIVER", port)
    options = [] if way == "get" else ["--move-to", f"RECEIVER:{port}", "--aet", "TESTS"]
    orthanc.forget()

    done = bsbatch("fetch", f"dimse:{orthanc.dimse}", tmp_path / "dimse", *options)

    rows = list(all_rows(tmp_path / "dimse" / LEDGER / OBJECTS, ["status", "reason", "sop_uid"]))
    failed = {row["sop_uid"]: row["reason"] for row in rows if row["status"] == "failed"}
    assert done.returncode == (3 if failed else 0), done.stderr
    assert set(failed.values()) <= {"refused"}
    expected = datasets(by_dicomweb)
    for name, dataset in list(expected.items()):
        if dataset.SOPInstanceUID in failed:  # Orthanc cannot send what has no SOP Class UID
            assert "SOPClassUID" not in expected.pop(name)
    assert len(expected) > 8
    assert datasets(tmp_path / "dimse") == expected
    assert {sop_uid_of(encode_ct(number)) for number in range(CT_SLICES)}.isdisjoint(orthanc.read_whole())


def test_a_pacs_that_stops_in_the_middle_leaves_a_mirror_that_the_same_command_completes(tmp_path: Path) -> None:
    with start_orthanc(tmp_path / "orthanc") as server:
        server.load(encode_scan(Scan(study)) for study in range(12))
        command = ["fetch", f"dimse:{server.dimse}", str(tmp_path / "mirror"), "--rate"]
        process = [sys.executable, "-m", "bsbatch", *command, "10"]
        with subprocess.Popen(process, stderr=subprocess.PIPE, text=True) as running:
            while len(datasets(tmp_path / "mirror")) < 4:
                assert running.poll() is None
                time.sleep(0.05)
            server.stop()
            _, message = running.communicate(timeout=100)
    assert running.returncode == 4
    assert "cannot be reached" in " ".join(message.split())
    before = datasets(tmp_path / "mirror")
    assert 4 <= len(before) < 12
    ports = {"HttpPort": server.http_port, "DicomPort": server.dicom_port}
    with start_orthanc(tmp_path / "orthanc", None, **ports) as again:
        again.uids.update(server.uids)
        done = bsbatch(*command, "1000")
        assert done.returncode == 0, done.stderr
        assert len(datasets(tmp_path / "mirror")) == 12
        assert sum(again.read_whole().values()) == 12 - len(before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["dimse:PACS"], "AET@host:port"),
        (["dimse:PACS@127.0.0.1:1", "--aet", "A" * 17], "16"),
        (["dimse:PACS@127.0.0.1:1", "--move-to", "AET:"], "AET:PORT"),
        (["dimse:PACS@127.0.0.1:1", "--rate", "0"], "objects a second"),
        (["dimse:PACS@127.0.0.1:1", "--between", "8-9"], "20:00-06:00"),
    ],
)
def test_what_cannot_be_used_is_a_usage_error(tmp_path: Path, options: list[str], words: str) -> None:
    source, *others = options
    done = bsbatch("fetch", source, tmp_path / "mirror", *others)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
