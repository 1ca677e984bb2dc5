"""Keyed hashes that replace UIDs and paths. Equal inputs get equal pseudonyms; guessing needs the key."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bsbatch.errors import UsageError
from bsbatch.records import Header, ObjectRef

_MIN_KEY_BYTES = 16
_NAME_PARTS = re.compile(r"[\s^=,.]+")
"""Separators of the components of a name, PS3.5 section 6.2.1."""
_replace_patient = Header.replacer("patient_id", "patient_issuer", "patient_name", "study")
_UID_BITS = 128
_KEY_BYTES = 16


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
            raise UsageError(
                f"the key file {path} cannot be read: {error.strerror}. bsbatch key FILE makes a new one"
            ) from error
        if len(key) < _MIN_KEY_BYTES:
            raise UsageError(
                f"the key in {path} has {len(key)} bytes, fewer than {_MIN_KEY_BYTES}: bsbatch key FILE makes one"
            )
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ between keys and do not reveal the key."""
        return self._hash("fingerprint").hex()[:16]

    def ref(self, ref: ObjectRef) -> ObjectRef:
        """Return the reference with a pseudonymous source; the object can still be opened."""
        return ref._replace(source=self._hash("source:" + ref.source).hex())

    def archive(self, path: str) -> str:
        """Return 64 hexadecimal digits for the absolute path of an archive."""
        return self._hash("archive:" + path).hex()

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
        return hmac.new(self.key, text.encode(errors="surrogatepass"), hashlib.sha256).digest()[:32]


def make_key(path: Path) -> None:
    """Write a random key of 256 bits, as 64 hexadecimal digits that only this user may read.

    Raises
    ------
    UsageError
        The file exists, or cannot be written.
    """
    try:
        path.touch(0o600, exist_ok=False)
        path.write_text(f"{secrets.token_hex()}\n", encoding="ascii")
    except FileExistsError as error:
        raise UsageError(f"{path} exists: a key is never replaced, as its pseudonyms would be lost") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class PatientKeys:
    """Replaces Patient ID, its issuer and Patient's Name, which no row may hold, by keyed hashes."""

    key: bytes
    """At most 64 bytes."""

    @classmethod
    def of(cls, secret: bytes) -> Self:
        """Return the hashes of a secret of any length."""
        return cls(hashlib.sha256(secret).digest())

    @classmethod
    def random(cls) -> Self:
        """Return hashes with a key of their own, for work that keeps no rows."""
        return cls(secrets.token_bytes())

    def header(self, header: Header) -> Header:
        """Return the header without `study`, and with 32 hexadecimal digits for ID, issuer and name if it has them."""
        name = header.patient_name
        if header.patient_id is None and header.patient_issuer is None and name is None and header.study is None:
            return header
        if name is not None:
            name = " ".join(_NAME_PARTS.split(name.casefold())).strip()
        patient, issuer = self.patient(header.patient_id), self._hash("issuer:", header.patient_issuer)
        return _replace_patient(header, (patient, issuer, self._hash("name:", name), None))

    def accession(self, number: str | None) -> str | None:
        """Return the value of the column ``accession_key``: 32 hexadecimal digits for an Accession Number."""
        return self._hash("accession:", number)

    def patient(self, patient_id: str | None) -> str | None:
        """Return the value of the column ``patient_key`` for a Patient ID without an issuer."""
        return self._hash("patient:", patient_id)

    def _hash(self, kind: str, text: str | None) -> str | None:
        if text is None:
            return None
        return hashlib.blake2b((kind + text).encode(), key=self.key, digest_size=_KEY_BYTES).hexdigest()


def patient_key(header: Header) -> str | None:
    """Return the value of the column ``patient_key``: 32 hexadecimal digits, equal for one ID of one issuer.

    Parameters
    ----------
    header
        From `PatientKeys.header`.
    """
    if header.patient_id is None or header.patient_issuer is None:
        return header.patient_id
    joined = f"{header.patient_id}{header.patient_issuer}".encode()
    return hashlib.blake2b(joined, digest_size=_KEY_BYTES).hexdigest()
