"""An S3 server for measurements: ``python -m benchmarks.bucket`` prints its port and serves until its input ends.

It lists and sends objects that it makes when they are asked for, so that buckets of any size cost nothing, and is quick
enough that the client is measured: moto answers some 300 requests a second. It checks no signature.

The prefix of a listing is ``kind/number/``, for example ``tiny/50000/``: so many objects of one kind.
"""

import asyncio
import re
import sys
from functools import cache
from io import BytesIO
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.clutter import make_object
from benchmarks.memory import PLACEHOLDER, with_placeholder
from tests.archives import Scan, ct_slice, dataset_of

BUCKET = "bench"
_PAGE = 1000
_KINDS = 70
"""Different objects of ``clutter``."""
_DATE = "Tue, 01 Dec 2026 00:00:00 GMT"
_RANGE = re.compile(r"range: *bytes=(\d+)-(\d+)", re.IGNORECASE)


@cache
def templates(kind: str) -> list[bytes]:
    """Objects of a kind: ``clutter`` of a PACS, or ``tiny`` studies of a two-frame object and a CT slice each."""
    if kind == "tiny":
        return [with_placeholder(dataset_of(Scan(0, rows=32, columns=16)), 0), with_placeholder(ct_slice(0), 9)]
    buffers = [BytesIO() for _ in range(_KINDS)]
    for number, buffer in enumerate(buffers):
        make_object(number).save_as(buffer, enforce_file_format=True)
    return [buffer.getvalue() for buffer in buffers]


def _content(key: str) -> bytes:
    kind, _, number = key.split("/")
    study, which = divmod(int(number), len(templates(kind)))
    return templates(kind)[which].replace(PLACEHOLDER, b"%012d" % study)


def _listing(prefix: str, start: int) -> bytes:
    kind, count = prefix.strip("/").split("/")
    end = min(start + _PAGE, int(count))
    sizes = [len(template) for template in templates(kind)]
    objects = "".join(
        f"<Contents><Key>{kind}/{count}/{number:08d}</Key><LastModified>2026-12-01T00:00:00.000Z</LastModified>"
        f'<ETag>"{number}"</ETag><Size>{sizes[number % len(sizes)]}</Size></Contents>'
        for number in range(start, end)
    )
    token = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < int(count) else ""
    return (
        f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{end - start}</KeyCount>"
        f"<MaxKeys>{_PAGE}</MaxKeys><IsTruncated>{str(bool(token)).lower()}</IsTruncated>{token}{objects}"
        "</ListBucketResult>"
    ).encode()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            self._transport.write(_answer(request.decode()))


def _answer(request: str) -> bytes:
    parts = urlsplit(request.split(" ", 2)[1])
    key = unquote(parts.path).partition(f"/{BUCKET}")[2].strip("/")
    if not key:
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return _encode("200 OK", _listing(query["prefix"], int(query.get("continuation-token", "0"))))
    data, found = _content(key), _RANGE.search(request)
    if found is None:
        return _encode("200 OK", data, key)
    part = data[int(found[1]) : int(found[2]) + 1]
    return _encode("206 Partial Content", part, key, f"Content-Range: bytes {found[1]}-{len(part) - 1}/{len(data)}\r\n")


def _encode(status: str, data: bytes, key: str = "", extra: str = "") -> bytes:
    tag = f'ETag: "{int(key[-8:])}"\r\n' if key else ""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\nLast-Modified: {_DATE}\r\n{tag}{extra}\r\n"
    return head.encode() + data


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
