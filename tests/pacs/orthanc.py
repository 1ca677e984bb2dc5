"""A real Orthanc with its DICOMweb plugin on loopback, filled through its REST API, that counts what it was asked for.

Orthanc binds all addresses and has no setting for that, so `loopback.c` is loaded into it: no privilege and no network
namespace is needed, and clients run as they are. It is ended by its own process id.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
INSTALL = "apt-get install orthanc orthanc-dicomweb"
_PROGRAM = shutil.which("Orthanc", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
"""Debian's place is not on the path of every user."""
_SHIM = Path(__file__).with_name("loopback.c")
_WHOLE = re.compile(rb'Reading attachment "([0-9a-f-]{36})" of "DICOM" content type\s*$', re.MULTILINE)
"""A whole object was read; parts of one, for a header, are logged with their range."""
_HTTP = re.compile(rb"\(http\) ([A-Z]+ /\S*)")


@dataclass(slots=True)
class Orthanc:
    """A running server."""

    aet: str
    http_port: int
    dicom_port: int
    log: Path
    process: "subprocess.Popen[bytes]"
    _from: int = 0
    uids: dict[str, str] = field(default_factory=dict)
    """SOP Instance UIDs by the names of files in its storage."""

    @property
    def dicomweb(self) -> str:
        """Address of the DICOMweb services."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    @property
    def dimse(self) -> str:
        """``AET@host:port`` of the DICOM services."""
        return f"{self.aet}@127.0.0.1:{self.dicom_port}"

    def rest(self, path: str, data: bytes | None = None, method: str | None = None) -> bytes:
        """Call its REST API: GET, or POST if there are data."""
        request = Request(f"http://127.0.0.1:{self.http_port}/{path}", data, method=method)
        with urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        return content

    def load(self, objects: Iterable[bytes]) -> set[str]:
        """Store objects; returns the SOP Instance UIDs of those that it accepts. It refuses what is not DICOM."""
        stored = set()
        for data in objects:
            try:
                stored.add(json.loads(self.rest("instances", data))["ID"])
            except HTTPError as refused:
                assert refused.code in {400, 404}, refused  # noqa: PT017 - a server that fails is no refusal
        return {self._remember(instance) for instance in stored}

    def _remember(self, instance: str) -> str:
        uid = str(json.loads(self.rest(f"instances/{instance}"))["MainDicomTags"]["SOPInstanceUID"])
        self.uids[json.loads(self.rest(f"instances/{instance}/attachments/dicom/info"))["Uuid"]] = uid
        return uid

    def delete(self, sop_instance: str) -> None:
        """Delete one object."""
        (instance,) = json.loads(self.rest("tools/lookup", sop_instance.encode()))
        self.rest(f"instances/{instance['ID']}", method="DELETE")

    def introduce(self, aet: str, port: int) -> None:
        """Make a receiver on loopback known, as the target of C-MOVE."""
        known = {"AET": aet, "Host": "127.0.0.1", "Port": port}
        self.rest(f"modalities/{aet}", json.dumps(known).encode(), "PUT")

    def forget(self) -> None:
        """Count from now on."""
        self._from = self.log.stat().st_size

    def read_whole(self) -> Counter[str]:
        """SOP Instance UIDs of the objects that were read whole, to send or to render them, with their numbers."""
        return Counter(self.uids[uuid.decode()] for uuid in _WHOLE.findall(self._log()))

    def http_requests(self) -> list[str]:
        """Method and path of every HTTP request, in order."""
        return [request.decode() for request in _HTTP.findall(self._log())]

    def count(self, words: str) -> int:
        """Lines of its log that contain these words."""
        return self._log().count(words.encode())

    def _log(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._from)
            return log.read()

    def stop(self) -> None:
        """End it at once, by its process id; again does no harm. It would take seconds to end by itself."""
        self.process.kill()
        self.process.wait()


def missing() -> str | None:
    """The reason why no server can be started here; None if it can."""
    if _PROGRAM is None or not PLUGIN.exists():
        return f"Orthanc with DICOMweb is not installed: {INSTALL}"
    return None if shutil.which("cc") else "no C compiler: Orthanc would bind all addresses"


@contextmanager
def start_orthanc(folder: Path, environment: Mapping[str, str] | None = None, **settings: object) -> Iterator[Orthanc]:
    """Start a server with its storage in a new folder, and end it; skip the test if it cannot run here.

    Parameters
    ----------
    folder
        For storage, settings and log.
    environment
        Variables that its settings refer to.
    settings
        Of orthanc.json, in place of those of this function. ``HttpPort`` and ``DicomPort`` are free ports otherwise.
    """
    if reason := missing():
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    http_port, dicom_port = free_ports(2)
    setting = _settings(folder) | {"HttpPort": http_port, "DicomPort": dicom_port} | settings
    (folder / "orthanc.json").write_text(json.dumps(setting), encoding="utf-8")
    command = [str(_PROGRAM), "--verbose", str(folder / "orthanc.json")]
    log = folder / "orthanc.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**(environment or {}), **on_loopback(folder)},
        )
    server = Orthanc(str(setting["DicomAet"]), *_ports(setting), log, process)
    try:
        _wait(server)
        yield server
    finally:
        server.stop()


def _ports(setting: dict[str, object]) -> tuple[int, int]:
    return int(str(setting["HttpPort"])), int(str(setting["DicomPort"]))


def _settings(folder: Path) -> dict[str, object]:
    storage = str(folder / "storage")
    return {
        "Name": "Tests",
        "DicomAet": "ORTHANC",
        "StorageDirectory": storage,
        "IndexDirectory": storage,
        "MaximumStorageCacheSize": 0,  # every object that is sent is read, and its reading logged
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True},
    }


def on_loopback(folder: Path) -> dict[str, str]:
    """Environment in which a program binds loopback only; compiles a library into a folder."""
    library = folder.resolve() / "loopback.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, _SHIM, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def free_ports(number: int) -> list[int]:
    """Ports that are free on loopback."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait(server: Orthanc, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.process.poll() is None:
        try:
            server.rest("system")
        except HTTPError:  # it asks for a password
            return
        except URLError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"Orthanc did not start: {server.log.read_text(errors='replace')[-2000:]}")


def listening_addresses(process: int) -> set[str]:
    """Local addresses, in the hexadecimal form of /proc/net/tcp, at which a process listens."""
    links = (str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink())
    inodes = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in inodes}
