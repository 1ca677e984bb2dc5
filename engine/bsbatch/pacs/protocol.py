"""Protocols and records of a PACS: what is asked of it, what it has, and the pauses between requests."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Protocol, Self


class Trouble(StrEnum):
    """Reasons why a study or an object was not fetched; codes of the ledger beside those of `bsbatch.reasons`."""

    REFUSED = "refused"
    """The PACS answers with an error."""
    NOT_SENT = "not_sent"
    """The PACS lists the object and does not send it."""
    INCOMPLETE = "incomplete"
    """The answer ends before the object does, or the object before its pixels do."""
    OTHER_OBJECT = "other_object"
    """An object of another SOP Instance UID came, or no DICOM object."""
    INVALID_ANSWER = "invalid_answer"
    """The answer to a search cannot be read."""
    TOO_LARGE = "too_large"
    """Larger than any scan."""


class StudyFilter(NamedTuple):
    """One search for studies with nuclear medicine; None does not restrict."""

    dates: str | None = None
    """Range of (0008,0020) Study Date, PS3.4 C.2.2.2.5: ``20260101-20260131``, ``20260101-`` or ``-20260131``."""
    accession: str | None = None
    """(0008,0050) Accession Number."""
    patient: str | None = None
    """(0010,0020) Patient ID."""


class PacsStudy(NamedTuple):
    """A study that a PACS has."""

    uid: str
    """(0020,000D) Study Instance UID."""
    instances: int | None = None
    """(0020,1208) Number of Study Related Instances: a study that has grown is asked for again."""


class PacsObject(NamedTuple):
    """An object that a PACS has, as series and instance level describe it; None is a value that it does not return."""

    series_uid: str
    sop_uid: str
    modality: str | None = None
    """(0008,0060) Modality, of the series."""
    description: str | None = None
    """(0008,103E) Series Description; never logged or written."""
    sop_class: str | None = None
    image_type: tuple[str, ...] | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int | None = None
    bits_allocated: int | None = None
    series_size: int | None = None
    """Number of objects of its series: clients may retrieve several objects of it at once. None: one by one."""


class PacsClient(Protocol):
    """A PACS. Nothing is connected before enter; `lanes` threads may use it at once.

    All methods raise `bsbatch.errors.SourceError` if the PACS as a whole cannot be used: it is gone, or refuses. Those
    about one study raise `bsbatch.errors.ItemError` for what concerns that study alone.
    """

    lanes: int
    """Studies that are asked for at the same time."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def studies(self, wanted: StudyFilter) -> Iterator[PacsStudy]:
        """Search for studies; a study may come twice, none is missing. Holds a page of them in memory, not all."""
        ...

    def objects(self, study: PacsStudy) -> Sequence[PacsObject]:
        """Find the objects of a study in series that `bsbatch.pacs.candidates.is_open` accepts; no other is asked for.

        Which of them are fetched decides `bsbatch.pacs.candidates.decline`, not the client.
        """
        ...

    def retrieve(self, study: PacsStudy, objects: Sequence[PacsObject]) -> Iterator[tuple[str, bytes]]:
        """Yield (SOP Instance UID, file with preamble and meta information, PS3.10) of objects as they arrive.

        Those that do not arrive are missing from the result, or from that before an `ItemError`; the caller asks for
        them once more. No other object than the given ones is asked for.
        """
        ...


class Pace(Protocol):
    """Pauses that keep a clinical PACS fast."""

    def wait(self, objects: int, leave: Callable[[], object] | None = None) -> None:
        """Block until the PACS may be asked for that many objects more; 0 is a query.

        ``leave`` is called before a pause of hours, so that no connection is kept for nothing.
        """
        ...

    def pause(self, duration: float) -> None:
        """Block for a number of seconds; an interruption ends all pauses with `KeyboardInterrupt`."""
        ...
