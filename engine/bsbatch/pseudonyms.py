"""Keyed hashes that replace UIDs and paths. Equal inputs get equal pseudonyms; guessing needs the key."""

import hashlib
import hmac
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from bsbatch.errors import UsageError
from bsbatch.records import Header, ObjectRef

_MIN_KEY_BYTES = 16
_UID_BITS = 128


@dataclass(frozen=True, slots=True)
class Pseudonymiser:
    """Replaces the UIDs and paths that identify a patient's study."""

    key: bytes

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read the key.

        Raises
        ------
        UsageError
            The file cannot be read or holds fewer than 16 bytes.
        """
        try:
            key = path.read_bytes().strip()
        except OSError as error:
            raise UsageError(f"the key file {path} cannot be read: {error.strerror}") from error
        if len(key) < _MIN_KEY_BYTES:
            raise UsageError(f"the key in {path} is shorter than {_MIN_KEY_BYTES} bytes: openssl rand -hex 32 > {path}")
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ between keys and do not reveal the key."""
        return self._hash("fingerprint").hex()[:16]

    def ref(self, ref: ObjectRef) -> ObjectRef:
        """Return the reference with a pseudonymous source; the object can still be opened."""
        return replace(ref, source=self._hash("source:" + ref.source).hex())

    def header(self, header: Header) -> Header:
        """Return the header with pseudonymous UIDs."""
        return header._replace(
            sop_uid=self.uid(header.sop_uid),
            study_uid=self.uid(header.study_uid),
            series_uid=self.uid(header.series_uid),
            frame_of_reference_uid=self.uid(header.frame_of_reference_uid),
        )

    def uid(self, uid: str | None) -> str | None:
        """Return a pseudonymous UID in the form of PS3.5 section B.2 for UUIDs: ``2.25.`` and up to 39 digits."""
        return None if uid is None else f"2.25.{int.from_bytes(self._hash('uid:' + uid)[: _UID_BITS // 8], 'big')}"

    def _hash(self, text: str) -> bytes:
        return hmac.new(self.key, text.encode(), hashlib.sha256).digest()[:32]
