"""A real HTTP proxy before a server of objects, which counts requests and answers some of them wrongly."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.stores import BUCKET


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the proxy sees it."""

    key: str | None
    """Key of an object; None for a listing."""
    range: str | None
    """The bytes that it asks for."""
    page: str | None
    """Token of a page of a listing; None for the first one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A wrong answer."""

    status: int | None = None
    """None: the connection breaks."""
    code: str = "Injected"
    bytes_sent: int | None = None
    """The true answer, cut after so many bytes of its body."""


Rule = Callable[[Request], Fault | None]


@dataclass
class Proxy:
    """What it saw, and the rule by which it fails."""

    upstream: str
    seen: list[Request] = field(default_factory=list)
    rule: Rule = lambda _: None

    def count(self, *, listings: bool = False) -> int:
        """Return the number of requests for objects, or for pages of listings."""
        return sum((request.key is None) == listings for request in self.seen)


def always(status: int | None, code: str = "Injected", key: str = ".*") -> Rule:
    """Fail every request for an object whose key matches."""
    return lambda request: Fault(status, code) if request.key is not None and re.fullmatch(key, request.key) else None


def everywhere(status: int | None, code: str = "Injected") -> Rule:
    """Fail every request."""
    return lambda _: Fault(status, code)


def first(count: int, fault: Fault) -> Rule:
    """Fail the first requests."""
    left = [fault] * count
    return lambda _: left.pop() if left else None


def after(count: int, rule: Rule) -> Rule:
    """Apply a rule after so many requests."""
    passed = [None] * count
    return lambda request: passed.pop() if passed else rule(request)


@contextmanager
def proxy(upstream: str) -> Iterator[tuple[Proxy, str]]:
    """Yield a proxy and its URL."""
    state = Proxy(upstream)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    state: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients break connections after injected errors."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        state, parts = self.server.state, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key = unquote(parts.path).partition(f"/{BUCKET}")[2].lstrip("/") or None
        page = query.get("continuation-token") or query.get("marker")
        request = Request(key, self.headers.get("Range"), page)
        state.seen.append(request)
        fault = state.rule(request)
        if fault is None or fault.bytes_sent is not None:
            self._forward(None if fault is None else fault.bytes_sent)
        elif fault.status is None:
            self._break()
        else:
            self._answer(fault)

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - names of the standard library

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - a name of the standard library
        """Write no log."""

    def _forward(self, bytes_sent: int | None) -> None:
        host = urlsplit(self.server.state.upstream).netloc
        connection = HTTPConnection(host, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        connection.request(self.command, self.path, body or None, dict(self.headers))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:bytes_sent])
        if bytes_sent is not None:
            self._break()

    def _answer(self, fault: Fault) -> None:
        data = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>secret-of-the-server</Message></Error>"
        self.send_response_only(fault.status or 500)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())

    def _break(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
