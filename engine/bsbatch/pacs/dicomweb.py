"""A PACS with DICOMweb: QIDO-RS to search (PS3.18 section 10.6), WADO-RS to retrieve (section 10.4)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from bsbatch.errors import ItemError, SourceError
from bsbatch.pacs import qido
from bsbatch.pacs.candidates import is_open
from bsbatch.pacs.http import HttpSession
from bsbatch.pacs.mirror import sop_uid_of
from bsbatch.pacs.multipart import LARGEST_OBJECT, boundary_of, parts
from bsbatch.pacs.protocol import Pace, PacsObject, PacsStudy, StudyFilter, Trouble
from bsbatch.pacs.settings import Access

_PAGE, _SMALLEST_PAGE = 200, 100
"""Most records to ask for at once, which all servers accept, and the smallest page that a server may cut answers to."""
_WHOLE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Objects as they are stored: a server must not convert them."""
_OF_STUDY = f"{qido.MODALITIES},{qido.STUDY_INSTANCES}"
_OF_OBJECT = ",".join((qido.IMAGE_TYPE, qido.ROWS, qido.COLUMNS, qido.FRAMES, qido.BITS))
Record = TypeVar("Record")


class DicomWebClient:
    """A DICOMweb server."""

    lanes = 8

    def __init__(self, address: str, access: Access, pace: Pace) -> None:
        """See `HttpSession`; waits for the pace before every request."""
        self._pace = pace
        self._http = HttpSession(
            address, access, self.lanes + 1, pace.pause
        )  # the search for studies goes on beside the lanes

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.__exit__(kind, error, trace)

    def studies(self, wanted: StudyFilter) -> Iterator[PacsStudy]:
        """Search for studies."""
        asked = {"StudyDate": wanted.dates, "AccessionNumber": wanted.accession, "PatientID": wanted.patient}
        parameters = {name: value for name, value in asked.items() if value is not None}
        try:
            yield from self._search(
                "studies",
                {"ModalitiesInStudy": "NM", **parameters, "includefield": _OF_STUDY},
                lambda item: qido.study_of(item, wanted),
            )
        except ItemError as error:
            raise SourceError(f"the search for studies failed: {error}. Check the address of the PACS") from error

    def objects(self, study: PacsStudy) -> list[PacsObject]:
        """Find the objects of the open series. All series are listed: what lacks a Modality may be open, too."""
        path = f"studies/{quote(study.uid, safe='')}/series"
        found = list[PacsObject]()
        for series in self._search(path, {}, qido.series_of):
            if is_open(series.modality):
                found += self._objects_of(path, series)
        return found

    def retrieve(self, study: PacsStudy, objects: Sequence[PacsObject]) -> Iterator[tuple[str, bytes]]:
        """Retrieve objects one by one, or a series at once if all of it is asked for."""
        by_series, troubles = defaultdict[str, list[PacsObject]](list), list[ItemError]()
        for item in objects:
            by_series[item.series_uid].append(item)
        for series, items in by_series.items():
            path = f"studies/{quote(study.uid, safe='')}/series/{quote(series, safe='')}"
            is_whole = len(items) > 1 and len(items) == items[0].series_size
            for batch in [items] if is_whole else [[item] for item in items]:
                self._pace.wait(len(batch))
                try:
                    yield from self._retrieve_from(path, batch)
                except ItemError as error:  # the others are asked for all the same
                    troubles.append(error)
        if troubles:
            raise troubles[0]

    def _retrieve_from(self, series: str, items: Sequence[PacsObject]) -> Iterator[tuple[str, bytes]]:
        """Retrieve one object of a series, or all."""
        if len(items) > 1:
            yield from ((sop_uid_of(data), data) for data in self._objects_at(series, len(items)))
        else:
            uid = items[0].sop_uid
            yield from ((uid, data) for data in self._objects_at(f"{series}/instances/{quote(uid, safe='')}", 1))

    def _objects_of(self, path: str, series: qido.Series) -> list[PacsObject]:
        path = f"{path}/{quote(series.uid, safe='')}/instances"
        found = list(self._search(path, {"includefield": _OF_OBJECT}, lambda item: qido.object_of(item, series)))
        return [item._replace(series_size=len(found)) for item in found]

    def _objects_at(self, path: str, count: int) -> Iterator[bytes]:
        with self._http.get(path, _WHOLE) as answer:
            kind = answer.headers.get("Content-Type", "")
            boundary = boundary_of(kind)
            if boundary is not None:
                yield from (part for _, part in zip(range(count), parts(answer.read, boundary), strict=False))
            elif kind.startswith("application/dicom") and "json" not in kind:
                yield answer.read(LARGEST_OBJECT)
            else:
                raise ItemError(Trouble.REFUSED, "the PACS answers with something else than DICOM objects")

    def _search(
        self, path: str, parameters: dict[str, str], record_of: Callable[[object], Record | None]
    ) -> Iterator[Record]:
        """Yield the records of all pages; some servers ignore ``limit`` or ``offset``, or have smaller pages.

        Raises
        ------
        SourceError
            The server returns the first page again and again.
        """
        offset, previous = 0, list[object]()
        while page := self._page(path, {**parameters, "limit": str(_PAGE), "offset": str(offset)}):
            if page == previous:
                raise SourceError("the PACS ignores the offset of a search: ask for less, with --since and --until")
            yield from (record for record in map(record_of, page) if record is not None)
            if not _SMALLEST_PAGE <= len(page) <= _PAGE:
                return
            offset, previous = offset + len(page), page

    def _page(self, path: str, parameters: dict[str, str]) -> list[object]:
        self._pace.wait(0)
        return self._http.search(path, parameters)
