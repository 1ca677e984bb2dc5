"""The example of Orthanc beside bsbatch: its file is read, its Orthanc is started, its command runs."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from tests.archives import Scan
from tests.end_to_end.tables import bsbatch
from tests.pacs.conftest import encode_scan
from tests.pacs.orthanc import Orthanc, free_ports, start_orthanc

from bsbatch.pacs.access import CREDENTIALS

COMPOSE = Path(__file__).parents[2] / "compose"
PASSWORD = "correct-horse"
_OF_TESTS = ("StorageDirectory", "IndexDirectory", "HttpPort", "DicomPort")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="pip install pyyaml")
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yml").read_text())["services"]
    return found


def store(server: Orthanc, data: bytes) -> None:
    secret = base64.b64encode(f"bsbatch:{PASSWORD}".encode()).decode()
    address = f"http://127.0.0.1:{server.http_port}/instances"
    urlopen(Request(address, data, {"Authorization": f"Basic {secret}"})).close()


def test_the_command_of_the_example_mirrors_from_its_orthanc(
    services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = json.loads((COMPOSE / "orthanc.json").read_text())
    http, dicom = free_ports(2)
    setting |= {name: {"HttpPort": http, "DicomPort": dicom}.get(name, str(tmp_path / "db")) for name in _OF_TESTS}
    fetch = services["fetch"]
    address = fetch["command"][1].replace("orthanc:8042", f"127.0.0.1:{http}")
    with start_orthanc(tmp_path / "orthanc", {"ORTHANC_PASSWORD": PASSWORD}, **setting) as server:
        store(server, encode_scan(Scan(0)))
        refused = bsbatch("fetch", address, tmp_path / "mirror")
        secret = fetch["environment"]["BSBATCH_PACS_CREDENTIALS"].replace(
            "${ORTHANC_PASSWORD:?choose a password}", PASSWORD
        )
        monkeypatch.setenv(CREDENTIALS, secret)
        done = bsbatch("fetch", address, tmp_path / "mirror")

    assert refused.returncode == 4
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "mirror" / "objects").glob("*/*.dcm"))) == 1


def test_secrets_are_variables_and_the_screening_has_no_network(services: dict[str, Any]) -> None:
    assert services["screen"]["network_mode"] == "none"
    for text in ((COMPOSE / "compose.yml").read_text(), (COMPOSE / "orthanc.json").read_text()):
        assert all("${ORTHANC_PASSWORD" in line for line in text.splitlines() if "bsbatch:" in line)
    assert services["fetch"]["build"]["args"]["EXTRAS"].count("pacs") == 1
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_files_that_the_example_mounts_are_there(services: dict[str, Any]) -> None:
    mounts = [volume.split(":")[0] for volume in services["orthanc"]["volumes"] if volume.startswith("./")]
    assert mounts == ["./orthanc.json"]
    assert all((COMPOSE / mount).is_file() for mount in mounts)
    assert (COMPOSE / services["fetch"]["build"]["context"] / "Dockerfile").is_file()
