"""Settings of ``bsbatch fetch``, frozen and checked once. Light: the command line imports it."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bsbatch.errors import UsageError

_SOURCE = re.compile(r"(dicomweb|dimse):(.+)")
_SECRET = re.compile(r"https?://[^/]*@|[?#]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Studies to mirror; without a value all that hold nuclear medicine."""

    since: date | None = None
    """First Study Date."""
    until: date | None = None
    """Last Study Date."""
    accessions: tuple[str, ...] = ()
    """Accession numbers."""
    patients: tuple[str, ...] = ()
    """Patient IDs."""

    def __post_init__(self) -> None:
        """Refuse values that would find nothing, or the same study twice."""
        if self.since and self.until and self.since > self.until:
            raise UsageError("--since is later than --until")
        if self.accessions and self.patients:
            raise UsageError("--accessions and --patients are two lists: run the command once with each")


@dataclass(frozen=True, slots=True)
class Access:
    """The way into a PACS; secrets are in files or in the environment, never in a setting."""

    credentials: Path | None = None
    """File with ``user:password`` or ``Bearer TOKEN``; None for the variable ``BSBATCH_PACS_CREDENTIALS``, if set."""
    certificate: Path | None = None
    """Client certificate and its key, PEM."""
    authority: Path | None = None
    """Certificates of the authority that the server's certificate is checked with, PEM; None for the system's."""
    aet: str = "BSBATCH"
    """AE title of this side, for DIMSE."""
    move_to: str | None = None
    """``AET:PORT`` of a receiver of our own, for C-MOVE; None retrieves with C-GET."""


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """Settings of ``bsbatch fetch``."""

    source: str
    """``dicomweb:https://host/dicom-web`` or ``dimse:AET@host:port``."""
    folder: Path
    """The mirror."""
    wanted: Wanted = Wanted()
    access: Access = Access()
    dry_run: bool = False
    """Ask for studies, series and sizes; fetch nothing and write nothing."""

    def __post_init__(self) -> None:
        """Refuse an address of another kind, or one that holds a secret."""
        if _SECRET.search(self.source):
            raise UsageError("a SOURCE holds no user, password or token: see --credentials")
        if _SOURCE.fullmatch(self.source) is None:
            raise UsageError("a SOURCE is dicomweb:https://host/dicom-web or dimse:AET@host:port")

    @property
    def kind(self) -> str:
        """``dicomweb`` or ``dimse``."""
        return self.source.split(":", 1)[0]

    @property
    def address(self) -> str:
        """The address without its kind."""
        return self.source.split(":", 1)[1]
