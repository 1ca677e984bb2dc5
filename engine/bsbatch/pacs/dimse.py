"""A PACS over DIMSE (PS3.4 annex C, study root): C-FIND, then C-GET, or C-MOVE to a receiver of our own."""

import logging
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import NoReturn, Self, TypeVar

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.pacs import qido
from bsbatch.pacs.access import tls
from bsbatch.pacs.association import (
    COMMON_CLASSES,
    FIND,
    MOST_CLASSES,
    Line,
    Peer,
    check_ae_title,
    silence_pynetdicom,
    status_of,
)
from bsbatch.pacs.candidates import is_open
from bsbatch.pacs.protocol import Pace, PacsObject, PacsStudy, StudyFilter, Trouble
from bsbatch.pacs.receiver import Inbox, Receiver, Target
from bsbatch.pacs.settings import Access

_SUCCESS, _SOME_FAILED, _UNKNOWN_TARGET = 0x0000, 0xB000, 0xA801
_PENDING = frozenset({0xFF00, 0xFF01})
"""Status of C-FIND, C-GET and C-MOVE, PS3.4 C.4.1.1.4, C.4.2.1.5 and C.4.3.1.4."""
_ATTEMPTS = 2
"""Queries for the objects of a series that lists fewer than it counts."""
_BATCH = 16
"""Objects in one request: they may be in memory together, and a PACS refuses long lists."""
_OF_SERIES = ("Modality", "SeriesDescription", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")
_OF_OBJECT = ("SOPInstanceUID", "SOPClassUID", "ImageType", "Rows", "Columns", "NumberOfFrames", "BitsAllocated")
logger = logging.getLogger(__name__)
Found = TypeVar("Found")
_Keys = dict[str, str | list[str] | None]
"""Attributes of an identifier by keyword."""


class DimseClient:
    """A PACS with C-FIND and C-GET or C-MOVE: one association, one study at a time."""

    lanes = 1

    def __init__(self, address: str, access: Access, pace: Pace) -> None:
        """Check the address ``AET@host:port`` and the access; waits for the pace before every request.

        Raises
        ------
        bsbatch.errors.UsageError
            The address, an AE title, the receiver or a certificate cannot be used.
        """
        peer, tls = Peer.parse(address), _client_context(access)
        self._pace = pace
        self._target = None if access.move_to is None else Target.parse(access.move_to)
        self._receiver = None if self._target is None else Receiver(self._target, peer, _receiver_context(access))
        self._line = Line(peer, check_ae_title(access.aet), by_get=self._target is None, tls=tls, sleep=pace.pause)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(silence_pynetdicom())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._line.abort() if error else self._line.close()
            if self._receiver is not None:
                self._receiver.close()

    def studies(self, wanted: StudyFilter) -> Iterator[PacsStudy]:
        """Search for studies."""
        keys = _Keys(StudyDate=wanted.dates, AccessionNumber=wanted.accession, PatientID=wanted.patient)
        keys |= _Keys(ModalitiesInStudy="NM", StudyInstanceUID=None, NumberOfStudyRelatedInstances=None)
        try:
            yield from self._find("STUDY", keys, lambda item: qido.study_of(item, wanted))
        except ItemError as error:
            raise SourceError(f"the search for studies failed: {error}. Try fewer days (--since, --until)") from error

    def objects(self, study: PacsStudy) -> list[PacsObject]:
        """Find the objects of the open series. All series are listed: what lacks a Modality may be open, too."""
        keys, found = _Keys(StudyInstanceUID=study.uid), list[PacsObject]()
        for series in self._find("SERIES", keys | dict.fromkeys(_OF_SERIES), qido.series_of):
            if is_open(series.modality):
                found += self._objects(keys, series)
        return found

    def retrieve(self, study: PacsStudy, objects: Sequence[PacsObject]) -> Iterator[tuple[str, bytes]]:
        """Retrieve a few objects of one series at once; a failed request does not stop the next."""
        failure: ItemError | None = None
        for batch in _batches(objects):
            self._pace.wait(len(batch), self._line.close)
            try:
                yield from self._retrieve(study, batch)
            except ItemError as error:
                failure = error
        if failure is not None:
            raise failure

    def _objects(self, keys: _Keys, series: qido.Series) -> list[PacsObject]:
        """Find the objects of a series; once more if the PACS counts more of them. It may count hidden ones."""
        keys = keys | {"SeriesInstanceUID": series.uid} | dict.fromkeys(_OF_OBJECT)
        found = dict[str, PacsObject]()
        for _ in range(_ATTEMPTS):
            if not found or len(found) < (series.instances or 0):
                items = self._find("IMAGE", keys, lambda item: qido.object_of(item, series))
                found |= {item.sop_uid: item for item in items}
        if len(found) < (series.instances or 0):
            logger.warning("the PACS counts %d objects in a series and lists %d", series.instances, len(found))
        return [item._replace(series_size=len(found)) for item in found.values()]

    def _find(self, level: str, keys: _Keys, read: Callable[[object], Found | None]) -> list[Found]:
        """Send a query until it is answered.

        Raises
        ------
        bsbatch.errors.ItemError
            The PACS cannot answer this one.
        """
        self._pace.wait(0, self._line.close)
        for _ in self._line.pauses():
            association = self._line.take()
            if not self._line.is_offered(FIND):
                raise SourceError("the PACS offers no queries (C-FIND, study root) to this AE title: have them enabled")
            found, status = _ask(association, _identifier(level, keys), read)
            if status == _SUCCESS:
                return found
            if status is not None:
                raise ItemError(
                    Trouble.REFUSED, f"the PACS answers a query with status {status:#06x} (PS3.4 C.4.1.1.4)"
                )
            self._line.abort()
        raise SourceError("the PACS ends the association at every query: ask its administrator")

    def _retrieve(self, study: PacsStudy, batch: list[PacsObject]) -> Iterator[tuple[str, bytes]]:
        classes, inbox = _classes_of(batch), Inbox(item.sop_uid for item in batch)
        if self._receiver is not None:
            self._receiver.open(inbox, classes)
        status = yield from self._request(study, batch, inbox)
        if status == _SUCCESS and self._receiver is not None:
            yield from inbox.wait()
        if status is None:
            self._line.take(classes)  # raises if the PACS is gone; else the caller asks again
        elif status not in {_SUCCESS, _SOME_FAILED}:
            self._refuse(status)

    def _refuse(self, status: int) -> NoReturn:
        words = f"the PACS ends a retrieval with status {status:#06x} (PS3.4 C.4.2.1.5)"
        if self._target is None:
            raise ItemError(Trouble.REFUSED, words)
        known = f"it must know {self._target.aet} with this machine's address and port {self._target.port}"
        if status == _UNKNOWN_TARGET:
            raise SourceError(f"{words}: {known}")
        raise ItemError(Trouble.REFUSED, f"{words}; {known}")

    def _request(
        self, study: PacsStudy, batch: list[PacsObject], inbox: Inbox
    ) -> Generator[tuple[str, bytes], None, int | None]:
        """Send one request; yields objects as they arrive, and returns its last status, None if the line was lost."""
        status: int | None = None
        try:
            for answer, _ in self._send(study, batch, inbox):
                status = status_of(answer)
                yield from inbox.take()
        except RuntimeError:  # the association was lost before the request could be sent
            status = None
        finally:
            if status is None or status in _PENDING:
                self._line.abort()
        return status

    def _send(
        self, study: PacsStudy, batch: list[PacsObject], inbox: Inbox
    ) -> Iterator[tuple[Dataset, Dataset | None]]:
        association = self._line.take(_classes_of(batch))
        if not self._line.is_offered(self._line.retrieves):
            way = "C-GET: retrieve with C-MOVE (--move-to AET:PORT)" if self._target is None else "C-MOVE"
            raise SourceError(f"the PACS does not offer this AE title {way}, or have it enabled")
        keys = _Keys(StudyInstanceUID=study.uid, SeriesInstanceUID=batch[0].series_uid)
        identifier = _identifier("IMAGE", keys | _Keys(SOPInstanceUID=[item.sop_uid for item in batch]))
        if self._target is not None:
            return association.send_c_move(identifier, self._target.aet, self._line.retrieves)
        association.bind(evt.EVT_C_STORE, inbox.store)
        return association.send_c_get(identifier, self._line.retrieves)


def _json(answer: Dataset) -> Mapping[str, object]:
    """Convert an answer to the JSON model of DICOMweb, PS3.18 annex F; damaged attributes are left out."""
    return answer.to_json_dict(suppress_invalid_tags=True)


def _identifier(level: str, keys: _Keys) -> Dataset:
    """Build the identifier of a request; a key of None is empty, which matches all and asks for the value."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    if not str(keys).isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def _ask(
    association: Association, identifier: Dataset, read: Callable[[object], Found | None]
) -> tuple[list[Found], int | None]:
    """Send a query; returns what was found and the last status, None if the line was lost."""
    found: list[Found] = []
    status: int | None = None
    is_read = True
    try:
        for answer, match in association.send_c_find(identifier, FIND):
            status = status_of(answer)
            is_read &= status not in _PENDING or match is not None
            item = None if match is None else read(_json(match))
            if item is not None:
                found.append(item)
    except RuntimeError:  # the association was lost before the query could be sent
        status = None
    if not is_read:
        raise ItemError(Trouble.INVALID_ANSWER, "the PACS sends an answer to a query that cannot be decoded")
    return found, status


def _batches(objects: Sequence[PacsObject]) -> Iterator[list[PacsObject]]:
    """Yield objects of one series to ask for at once; one by one if one of them may have ended the last request."""
    by_series = attrgetter("series_uid")
    for _, group in groupby(sorted(objects, key=by_series), by_series):
        items = list(group)
        size = 1 if items[0].series_size is None else _BATCH
        yield from (items[begin : begin + size] for begin in range(0, len(items), size))


def _classes_of(batch: Sequence[PacsObject]) -> frozenset[str]:
    """Storage classes to be received; the common ones if the PACS does not return that of an object."""
    known = {item.sop_class for item in batch if item.sop_class}
    return frozenset(sorted(known)[:MOST_CLASSES]) if all(item.sop_class for item in batch) else COMMON_CLASSES


def _client_context(access: Access) -> ssl.SSLContext | None:
    return tls(access) if access.authority or access.certificate else None


def _receiver_context(access: Access) -> ssl.SSLContext | None:
    """Context of a receiver with TLS; the PACS must show a certificate of the same authority."""
    if not access.authority and not access.certificate:
        return None
    if not access.certificate or not access.authority:
        raise UsageError("a receiver with TLS needs --certificate and --ca")
    return tls(access, ssl.Purpose.CLIENT_AUTH)
