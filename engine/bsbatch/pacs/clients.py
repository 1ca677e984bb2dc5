"""Clients of a PACS by the kind of its address."""

from bsbatch.pacs.protocol import Pace, PacsClient
from bsbatch.pacs.settings import FetchConfig
from bsbatch.requirements import require


def open_client(config: FetchConfig, pace: Pace) -> PacsClient:
    """Return the client for the source of a mirror; nothing is connected yet.

    Raises
    ------
    UsageError
        The address, the credentials or the certificates cannot be used, or a package is missing.
    """
    if config.kind == "dimse":
        require("pynetdicom", extra="pacs")
        from bsbatch.pacs.dimse import DimseClient  # noqa: PLC0415 - its package is optional

        return DimseClient(config.address, config.access, pace)
    require("urllib3", extra="pacs")
    from bsbatch.pacs.dicomweb import DicomWebClient  # noqa: PLC0415 - its package is optional

    return DicomWebClient(config.address, config.access, pace)
