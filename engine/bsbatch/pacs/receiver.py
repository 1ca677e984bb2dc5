"""Objects that a PACS sends: on our own association for C-GET, or to a receiver of our own for C-MOVE."""

import re
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from ssl import SSLContext
from typing import NamedTuple, Self

from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import ThreadedAssociationServer

from bsbatch.dicom.pixels import READABLE_SYNTAXES
from bsbatch.errors import SourceError, UsageError
from bsbatch.pacs.association import LARGEST_PORT, PDU_BYTES, WITHOUT_DELAY, Peer, check_ae_title

_SUCCESS, _NOT_ASKED_FOR = 0x0000, 0x0124
"""Status of C-STORE, PS3.7 annex C: stored, and refused because not authorised."""
_PORT = re.compile(r"[0-9]{1,5}")
_QUIET, _GLANCE = 10.0, 0.05
"""Seconds without an object after which no further one is expected, and between two looks."""
_ASSOCIATIONS = 4
"""That a PACS may open at once."""


class Target(NamedTuple):
    """A receiver of C-MOVE, as the PACS knows it."""

    aet: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``AET:PORT``.

        Raises
        ------
        bsbatch.errors.UsageError
            It is no such text.
        """
        title, _, port = text.rpartition(":")
        if not _PORT.fullmatch(port) or int(port) > LARGEST_PORT:
            raise UsageError("a receiver of C-MOVE is AET:PORT, with a port up to 65535")
        return cls(check_ae_title(title), int(port))


class Inbox:
    """Objects that are expected and have arrived; any thread may store, one takes."""

    def __init__(self, expected: Iterable[str]) -> None:
        self._expected = set(expected)
        self._arrived: deque[tuple[str, bytes]] = deque()

    def store(self, event: evt.Event) -> int:
        """Store one object unless nobody asked for it; returns the status of C-STORE."""
        request = event.request
        uid = str(request.AffectedSOPInstanceUID) if isinstance(request, C_STORE) else ""
        if uid not in self._expected:
            return _NOT_ASKED_FOR
        self._arrived.append((uid, event.encoded_dataset()))
        return _SUCCESS

    def take(self) -> Iterator[tuple[str, bytes]]:
        """Yield and forget the objects that have arrived; a repeated one once."""
        while self._arrived:
            uid, data = self._arrived.popleft()
            if uid in self._expected:
                self._expected.discard(uid)
                yield uid, data

    def wait(self) -> Iterator[tuple[str, bytes]]:
        """Yield the rest as it arrives: some PACS report the end of C-MOVE before they send anything."""
        end = time.monotonic() + _QUIET
        while self._expected and time.monotonic() < end:
            if self._arrived:
                yield from self.take()
                end = time.monotonic() + _QUIET
            time.sleep(_GLANCE)


class Receiver:
    """The target of C-MOVE; it listens at the one address of this machine from which the PACS is reached.

    Parameters
    ----------
    target
        Its AE title and port.
    peer
        The PACS.
    tls
        Context of TLS, or None.
    """

    def __init__(self, target: Target, peer: Peer, tls: SSLContext | None) -> None:
        self._target, self._peer, self._tls = target, peer, tls
        self._classes: frozenset[str] = frozenset()
        self._server: ThreadedAssociationServer | None = None
        self._inbox = Inbox(())

    def open(self, inbox: Inbox, classes: frozenset[str]) -> None:
        """Accept objects of these storage classes from now on, into an inbox.

        Raises
        ------
        bsbatch.errors.SourceError
            The port cannot be bound.
        """
        self._inbox = inbox
        if self._server is None or not classes <= self._classes:
            self.close()
            self._classes |= classes
            self._server = self._listen()

    def close(self) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()

    def _store(self, event: evt.Event) -> int:
        return self._inbox.store(event)

    def _listen(self) -> ThreadedAssociationServer | None:
        entity = AE(self._target.aet)
        entity.require_called_aet = True
        entity.maximum_associations = _ASSOCIATIONS
        entity.maximum_pdu_size = PDU_BYTES
        for kind in self._classes:
            entity.add_supported_context(kind, list(READABLE_SYNTAXES))
        handlers: list[evt.EventHandlerType] = [*WITHOUT_DELAY, (evt.EVT_C_STORE, self._store)]
        try:
            address = _own_address(self._peer), self._target.port
            return entity.start_server(address, False, self._tls, handlers)
        except OSError as error:
            message = (
                f"cannot listen at port {self._target.port} for C-MOVE ({error.strerror}): give another in --move-to"
            )
            raise SourceError(message) from error


def _own_address(peer: Peer) -> str:
    """Address of the interface that leads to the PACS; nothing is sent."""
    host, port = peer.resolve()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])
