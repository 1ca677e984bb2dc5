"""HTTP to a DICOMweb server: connections that are kept, retries, and every failure as an error of bsbatch."""

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Self
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.pacs.access import CREDENTIALS, authorization, tls
from bsbatch.pacs.protocol import Trouble
from bsbatch.pacs.settings import Access

JSON = "application/dicom+json"
_BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
_UNREACHABLE = (ConnectTimeoutError, NewConnectionError, SSLError)
_TIMEOUT = urllib3.Timeout(connect=10, read=300)
_LONGEST_PAUSE = 900
"""Seconds before a busy server is asked again, if it asks for more."""
_JSON_BYTES, _REST_BYTES = 1 << 26, 1 << 16
"""Most bytes of an answer to a search, and of the rest of an answer that is read for the sake of its connection."""
_AGAIN = "the same command goes on"

Answer = urllib3.BaseHTTPResponse


def _retries(pause: Callable[[float], None]) -> urllib3.Retry:
    """Return the rules of retries: busy servers are asked again after 0.5, 1, 2 ... seconds, or when they say."""

    class Retry(urllib3.Retry):
        def sleep(self, response: Answer | None = None) -> None:
            """Wait so that an interruption ends it."""
            asked = self.get_retry_after(response) if response is not None else None
            pause(self.get_backoff_time() if asked is None else min(asked, _LONGEST_PAUSE))

    return Retry(
        6,
        connect=3,
        read=2,
        other=0,  # TLS
        redirect=False,
        status_forcelist=_BUSY,
        backoff_factor=0.5,
        backoff_max=60,
        backoff_jitter=0.5,
        raise_on_status=False,
    )


class HttpSession:
    """A server below one address; threads share it. Redirections are not followed: they lead secrets elsewhere."""

    def __init__(self, address: str, access: Access, connections: int, pause: Callable[[float], None]) -> None:
        """Check the address and read the credentials; connects to nothing.

        Raises
        ------
        UsageError
            The address is none, or credentials or certificates cannot be read.
        """
        try:
            url = urllib3.util.parse_url(address)
        except HTTPError as error:
            raise UsageError(f"{address} is no address") from error
        if url.scheme not in {"http", "https"} or not url.host or url.auth or url.query or url.fragment:
            raise UsageError("the address of DICOMweb services is like https://host:port/dicom-web")
        self._address = address.rstrip("/")
        secret = authorization(access)
        # gzip of pixels takes a server ten times as long as sending them
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": secret} if secret else {})
        self._pool = urllib3.PoolManager(
            1, maxsize=connections, block=True, retries=_retries(pause), timeout=_TIMEOUT, ssl_context=tls(access)
        )
        self._logger = logging.getLogger("urllib3")

    def __enter__(self) -> Self:
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)  # it writes addresses, which hold patients' numbers, on each retry
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()
        self._logger.setLevel(self._level)

    @contextmanager
    def get(self, path: str, accept: str) -> Iterator[Answer]:
        """Ask for a resource; its body is read within the block, and a long rest is dropped with its connection.

        Raises
        ------
        ItemError
            ``refused`` or ``incomplete``: this resource cannot be had.
        SourceError
            The server cannot be used.
        """
        headers = self._headers | {"Accept": accept}
        try:
            answer = self._pool.request("GET", f"{self._address}/{path}", headers=headers, preload_content=False)
        except HTTPError as error:
            cause = error.reason if isinstance(error, MaxRetryError) else error
            if isinstance(cause, _UNREACHABLE):
                raise SourceError(f"{self._address} {_describe(cause)}; {_AGAIN}") from error
            raise ItemError(
                Trouble.REFUSED, "the PACS closes the connection, or lets it wait, without an answer"
            ) from error
        try:
            self._check(answer.status)
            yield answer
        except (HTTPError, OSError) as error:
            raise ItemError(
                Trouble.INCOMPLETE, "the connection to the PACS broke in the middle of an answer"
            ) from error
        finally:
            with suppress(HTTPError, OSError):
                answer.read(_REST_BYTES)  # a connection whose answer was read to its end is used again
            answer.close()

    def search(self, path: str, parameters: dict[str, str]) -> list[object]:
        """Ask for DICOM JSON, PS3.18 annex F: a list of data sets; empty if nothing matches.

        Raises
        ------
        ItemError
            ``invalid_answer``, and those of `get`.
        SourceError
            The server answers with a page, or cannot be used.
        """
        with self.get(f"{path}?{urlencode(parameters)}", JSON) as answer:
            body = answer.read(_JSON_BYTES + 1)
        if answer.status == HTTPStatus.NO_CONTENT:
            return []
        if body.lstrip()[:1] == b"<":
            raise SourceError(f"{self._address} answers with a page or with XML, not with {JSON}: check the address")
        return parse_list(body)

    def _check(self, status: int) -> None:
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if status in _REFUSED:
            advice = f"check --credentials ({CREDENTIALS}), --certificate and the rights of this user"
            raise SourceError(f"{self._address} refuses access (HTTP {status}): {advice}; {_AGAIN}")
        if status < HTTPStatus.BAD_REQUEST:
            raise SourceError(f"{self._address} has moved (HTTP {status}): name the address that it has now")
        if status in _BUSY:
            raise SourceError(f"{self._address} is busy (HTTP {status}): later {_AGAIN}, with a lower --rate perhaps")
        raise ItemError(Trouble.REFUSED, f"the PACS answers with HTTP status {status}")


def parse_list(body: bytes) -> list[object]:
    """Parse a list in JSON.

    Raises
    ------
    ItemError
        ``invalid_answer``.
    """
    try:
        found = json.loads(body) if len(body) <= _JSON_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise ItemError(Trouble.INVALID_ANSWER, f"the PACS answers a search with something else than {JSON}")
    return found


def _describe(error: Exception) -> str:
    """Describe a failed connection without the address that was asked for, which may hold a patient's number."""
    if isinstance(error, SSLError):
        cause = error.args[0] if error.args else None
        detail = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "no TLS in common"
        return f"cannot be trusted ({detail}): check the address, --ca and --certificate"
    if isinstance(error, NameResolutionError):
        return "has a host name that nobody knows: check the address"
    return "does not answer: check the address, the network and whether the server runs"
