"""Files of a mirror: names that say nothing of a patient, checks of what arrives, and writing whole or not at all."""

import hashlib
from io import BytesIO
from pathlib import Path

from bsbatch.dicom.headers.read import read_header
from bsbatch.errors import ItemError
from bsbatch.host.files import flush, replace_file
from bsbatch.pacs.protocol import Trouble

OBJECTS = "objects"
"""Folder of the files in a mirror."""


def file_of(study_uid: str, sop_uid: str) -> str:
    """Path of an object below the mirror: a hash of its UIDs, in one of 256 folders."""
    name = hashlib.blake2b(f"{study_uid}\0{sop_uid}".encode(), digest_size=16).hexdigest()
    return f"{OBJECTS}/{name[:2]}/{name}.dcm"


def sop_uid_of(data: bytes) -> str:
    """Return the SOP Instance UID of a file.

    Raises
    ------
    ItemError
        ``other_object``: it has none, or is no DICOM file.
    """
    return _identify(data)[0]


def write_object(path: Path, data: bytes, sop_uid: str) -> None:
    """Check an object and write it durably.

    Raises
    ------
    ItemError
        ``other_object`` or ``incomplete``; nothing is written.
    OSError
        The folder cannot be written to.
    """
    found, is_complete = _identify(data)
    if found != sop_uid:
        raise ItemError(Trouble.OTHER_OBJECT, "the PACS sent another object than it was asked for")
    if not is_complete:
        raise ItemError(Trouble.INCOMPLETE, "the object ends before its pixels do")
    if not path.parent.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        flush(path.parent.parent)
    with replace_file(path) as aside:
        aside.write_bytes(data)


def _identify(data: bytes) -> tuple[str, bool]:
    """Return the SOP Instance UID, and whether the file ends after its pixels."""
    try:
        header = read_header(BytesIO(data), len(data))
    except ItemError as error:
        raise ItemError(Trouble.OTHER_OBJECT, f"the PACS sent {error}") from error
    if header.sop_uid is None:
        raise ItemError(Trouble.OTHER_OBJECT, "the PACS sent an object without a SOP Instance UID")
    return header.sop_uid, header.pixel_data is None or header.pixel_data.is_complete
