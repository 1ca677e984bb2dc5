"""A small HTTP server on loopback whose answers a test decides: for servers that behave otherwise than Orthanc."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

Parameters = dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/dicom+json"
    headers: dict[str, str] = field(default_factory=dict)
    claims: int | None = None
    """Content-Length, if it is not that of the body."""


def as_json(*items: object) -> Reply:
    return Reply(body=json.dumps(items).encode())


@dataclass(slots=True)
class Scripted:
    """A running server."""

    port: int
    scheme: str
    requests: list[tuple[str, Parameters, dict[str, str]]] = field(default_factory=list)
    """Path, query and headers of each request."""

    @property
    def address(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/dicom-web"


@contextmanager
def serve(answer: Callable[[str, Parameters], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """Serve until the end of the block; ``answer`` gets the path below the address, and the query."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            path = url.path.removeprefix("/dicom-web/")
            server.requests.append((path, query, dict(self.headers)))
            reply = answer(path, query)
            self.send_response(reply.status)
            length = len(reply.body) if reply.claims is None else reply.claims
            for name, value in {"Content-Type": reply.kind, "Content-Length": str(length), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = reply.claims is not None

        def log_message(self, *_: object) -> None: ...

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    server = Scripted(listener.server_port, "http" if tls is None else "https")
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def make_certificate(folder: Path, name: str) -> Path:
    """Make a certificate of its own authority for localhost, PEM, with its key in the same file."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", *options, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    both = folder / f"{name}.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both
