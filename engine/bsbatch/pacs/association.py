"""Associations with a PACS (PS3.8), with contexts for all that bsbatch reads; a lost one is opened again."""

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AddressInformation, AssociationSocket

from bsbatch.dicom.pixels import READABLE_SYNTAXES
from bsbatch.errors import SourceError, UsageError
from bsbatch.host.threads import Lock

_ADDRESS = re.compile(r"([ -~]{1,16})@(\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\]]+):([0-9]{1,5})")
_AE_TITLE = re.compile(r"(?! +$)[ -\[\]-~]{1,16}")
"""PS3.5 section 6.2, VR AE: printable, no backslash, not only spaces."""
LARGEST_PORT = 65535
_BACK_OFF = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt."""
_CONNECT_TIMEOUT, _ANSWER_TIMEOUT = 20.0, 300.0
"""Seconds for a connection or an association, and for an answer: a PACS may have to load a study from tape."""
PDU_BYTES = 131072
"""Largest PDU to receive (PS3.8 annex D.1): the default of 16 kB costs many turns for each image."""
FIND, MOVE, GET = (UID(f"1.2.840.10008.5.1.4.1.2.2.{number}") for number in (1, 2, 3))
"""Study root models, PS3.4 table C.6.2.3-1."""
NM, SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.7"
COMMON_CLASSES = frozenset(
    {
        NM,
        "1.2.840.10008.5.1.4.1.1.5",
        SECONDARY_CAPTURE,
        *(f"{SECONDARY_CAPTURE}.{number}" for number in range(1, 5)),
    }
)
"""Storage classes of possible scans (`bsbatch.dicom.selection`), for a PACS that does not return SOP Class UID."""
MOST_CLASSES = (128 - 2) // len(READABLE_SYNTAXES)
"""An association has at most 128 presentation contexts (PS3.8 section 9.3.2.2): two operations, and these classes."""
_REFUSED_FOR_GOOD, _OF_USER = 1, 1
"""Result, and source of a rejection, PS3.8 table 9-21."""
_REASONS = {
    3: "it does not know the calling AE title {local}: have it entered there, or give another in --aet",
    7: "it is not the AE title {remote}: check the SOURCE",
}
"""By reason of a rejection by the service user."""


class Peer(NamedTuple):
    """The address of a PACS for DIMSE."""

    aet: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``AET@host:port``; an IPv6 address stands in brackets.

        Raises
        ------
        bsbatch.errors.UsageError
            It is no such address.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or int(found[3]) > LARGEST_PORT:
            raise UsageError("a DIMSE source is dimse:AET@host:port, with an AE title of at most 16 characters")
        return cls(check_ae_title(found[1]), found[2].strip("[]"), int(found[3]))

    def resolve(self) -> tuple[str, int]:
        """Return the numeric address and the port.

        Raises
        ------
        bsbatch.errors.SourceError
            The name is unknown.
        """
        try:
            (*_, address), *_ = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise SourceError(
                f"the host {self.host} of the PACS is not known here: check the SOURCE and DNS"
            ) from error
        return str(address[0]), self.port


def check_ae_title(text: str) -> str:
    """Return an AE title without spaces around it; raises UsageError if it is none."""
    if _AE_TITLE.fullmatch(text) is None:
        raise UsageError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return text.strip()


@contextmanager
def silence_pynetdicom() -> Iterator[None]:
    """Keep the log of pynetdicom from every handler: it shows identifiers of queries, which name patients."""
    log, level = logging.getLogger("pynetdicom"), _config.LOG_HANDLER_LEVEL
    before = log.propagate, log.handlers, log.level
    log.propagate, log.handlers = False, [logging.NullHandler()]
    log.setLevel(logging.CRITICAL)
    _config.LOG_HANDLER_LEVEL = "none"
    try:
        yield
    finally:
        log.propagate, log.handlers, _config.LOG_HANDLER_LEVEL = before[0], before[1], level
        log.setLevel(before[2])


def _send_at_once(event: evt.Event) -> None:
    """Set TCP_NODELAY: else each small message waits for the acknowledgement of the one before (Nagle, RFC 896)."""
    _set_option(event, socket.TCP_NODELAY)


def _acknowledge_at_once(event: evt.Event) -> None:
    """Set TCP_QUICKACK, which lasts until the next message: a PACS with Nagle's algorithm waits 40 ms for it."""
    _set_option(event, socket.TCP_QUICKACK)


def _set_option(event: evt.Event, option: int) -> None:
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, option, 1)


WITHOUT_DELAY: list[evt.EventHandlerType] = [
    (evt.EVT_CONN_OPEN, _send_at_once),
    (evt.EVT_DATA_SENT, _acknowledge_at_once),
]
"""Handlers that keep the operating system from holding small messages back."""


def contexts_of(classes: Collection[str], operations: Sequence[str]) -> list[PresentationContext]:
    """Return contexts for operations, and one for each storage class and transfer syntax.

    The acceptor chooses one transfer syntax of each context, and cannot send what was stored in another one.
    """
    stored = [build_context(kind, syntax) for kind in sorted(classes) for syntax in READABLE_SYNTAXES]
    return [*(build_context(operation) for operation in operations), *stored]


class _ClosedCheckpoint:
    """Keeps the reactor thread of an association from its messages, in place of pynetdicom's checkpoint.

    That thread serves requests, and a PACS sends none. Where the answer to a query comes within a millisecond, it may
    take that answer and drop it (pynetdicom#875): studies would be missing without a word.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def wait(self) -> None:
        """Block until `end`."""
        with self._lock:
            pass

    def set(self) -> None:
        """Stay closed."""

    def clear(self) -> None:
        """Stay closed."""

    def end(self) -> None:
        """Let the thread see that its association has ended; again does no harm."""
        if self._lock.locked():
            self._lock.release()


class _Entity(AE):
    """An AE that closes its sockets: pynetdicom leaves those open that never had a connection, or lost it."""

    def __init__(self, aet: str) -> None:
        super().__init__(aet)
        self._checkpoint = _ClosedCheckpoint()
        self._sockets: list[socket.socket] = []
        self.is_connected = False

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: tuple[ssl.SSLContext, str] | None
    ) -> AssociationSocket:
        assoc._reactor_checkpoint = self._checkpoint  # type: ignore[assignment]  # all that pynetdicom uses of an Event
        transport = super()._create_socket(assoc, address, tls_args)
        if transport.socket is not None:
            self._sockets.append(transport.socket)
        return transport

    def note_connection(self, event: evt.Event) -> None:
        """Note the socket of a connection, which is another one with TLS."""
        self.is_connected = True
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            self._sockets.append(transport.socket)

    def close(self) -> None:
        """End the thread, and close all sockets."""
        self._checkpoint.end()
        for one in self._sockets:
            one.close()


class Line:
    """One association with a PACS, opened when it is needed.

    Parameters
    ----------
    peer
        The PACS.
    aet
        AE title of this side.
    by_get
        Retrieve with C-GET; otherwise with C-MOVE.
    tls
        Context of TLS (PS3.15 B.12), or None.
    sleep
        For tests.
    """

    def __init__(
        self,
        peer: Peer,
        aet: str,
        *,
        by_get: bool = True,
        tls: ssl.SSLContext | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.peer, self.aet = peer, aet
        self.retrieves = GET if by_get else MOVE
        self._by_get, self._tls, self._sleep = by_get, tls, sleep
        self._association: Association | None = None
        self._classes = frozenset({NM, SECONDARY_CAPTURE}) if by_get else frozenset()
        self._was_open = False
        self._entity = _Entity(aet)

    def take(self, classes: frozenset[str] = frozenset()) -> Association:
        """Return an open association, with contexts to receive these storage classes on it if it is for C-GET.

        Raises
        ------
        bsbatch.errors.SourceError
            The PACS cannot be reached, refuses, or does not offer what is needed.
        """
        needed = classes if self._by_get else frozenset()
        if self._association is not None and (_has_ended(self._association) or not needed <= self._classes):
            self.close()
        if self._association is None:
            both = needed | self._classes
            self._classes = both if len(both) <= MOST_CLASSES else needed
            self._association = self._open()
        return self._association

    def close(self) -> None:
        """Release the association; it is aborted if the PACS does not answer."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.release()
        self._entity.close()

    def abort(self) -> None:
        """End the association in the middle of an operation, or after it was lost."""
        association, self._association = self._association, None
        if association is not None and association.is_established:
            association.abort()
        self._entity.close()

    def is_offered(self, operation: UID) -> bool:
        """Return True if the PACS has accepted a context for this operation."""
        association = self._association
        return association is not None and any(
            context.abstract_syntax == operation for context in association.accepted_contexts
        )

    def pauses(self) -> Iterator[int]:
        """Yield the numbers of attempts, after a longer pause each."""
        yield 1
        for attempt, seconds in enumerate(_BACK_OFF, start=2):
            self._sleep(seconds)
            yield attempt

    def _open(self) -> Association:
        problem = ""
        for _ in self.pauses():
            self._entity = _Entity(self.aet)
            association = self._request(self._entity)
            if association.is_established:
                self._was_open = True
                return association
            problem, may_pass = self._explain(association)
            self._entity.close()
            if not may_pass:
                break
        raise SourceError(f"{self._name}: {problem}")

    @property
    def _name(self) -> str:
        return f"the PACS {self.peer.aet} at {self.peer.host}:{self.peer.port}"

    def _request(self, entity: _Entity) -> Association:
        entity.connection_timeout = entity.acse_timeout = _CONNECT_TIMEOUT
        entity.dimse_timeout = entity.network_timeout = _ANSWER_TIMEOUT
        return entity.associate(
            *self.peer.resolve(),
            contexts=contexts_of(self._classes, (FIND, self.retrieves)),
            ae_title=self.peer.aet,
            max_pdu=PDU_BYTES,
            ext_neg=[build_role(kind, scp_role=True) for kind in sorted(self._classes)],
            tls_args=None if self._tls is None else (self._tls, self.peer.host),
            evt_handlers=[*WITHOUT_DELAY, (evt.EVT_CONN_OPEN, entity.note_connection)],
        )

    def _explain(self, association: Association) -> tuple[str, bool]:
        """Return the problem with advice, and True if it may pass."""
        if association.is_rejected:
            return self._explain_rejection(association.acceptor.primitive)
        if not self._entity.is_connected:
            means = "" if self._tls is None else " with TLS"
            return f"cannot be reached{means}; check host, port and network, then run the same command", self._was_open
        return "ended the association before it began; if it goes on doing so, ask its administrator", True

    def _explain_rejection(self, answer: A_ASSOCIATE | None) -> tuple[str, bool]:
        if answer is None or answer.result != _REFUSED_FOR_GOOD:
            return "takes no further association at present; run the same command later", True
        reason = _REASONS.get(answer.diagnostic or 0) if answer.result_source == _OF_USER else None
        advice = reason or f"refused for good (source {answer.result_source}, reason {answer.diagnostic}, PS3.8 9.3.4)"
        return advice.format(local=self.aet, remote=self.peer.aet), False


def _has_ended(association: Association) -> bool:
    """Return True if the PACS has ended an association, perhaps while nothing was asked for."""
    ended = association.acse.is_aborted() or association.acse.is_release_requested()
    return ended or not association.is_established


def status_of(answer: Dataset) -> int | None:
    """(0000,0900) Status of a response; None if the association was lost in place of it."""
    return int(answer.Status) if "Status" in answer else None
