"""The objects of a bucket in S3, Google Cloud Storage or Azure Blob Storage, through obstore.

Credentials, region and endpoint come from the environment variables of these services (``AWS_*``, ``GOOGLE_*``,
``AZURE_*``). Messages never quote obstore's errors: those hold keys of objects, and URLs that may be signed.
"""

import asyncio
import io
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.host.event_loop import wait_for
from bsbatch.protocols import FilePart
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict
from bsbatch.records import ObjectRef
from bsbatch.sources.containers import kinds
from bsbatch.sources.containers.kinds import Suffix
from bsbatch.sources.containers.reading import RangeReader

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import RetryConfig

STORES: dict[str, type[S3Store] | type[GCSStore] | type[AzureStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
"""Stores by the scheme of their addresses."""

_RETRIES: "RetryConfig" = {}
"""obstore's own: ten, from 0.1 s to 15 s apart, within three minutes; after 5xx, 429 and lost connections."""
_AT_ONCE = 64
"""Requests of one call at the same time; S3 serves 5,500 a second for each prefix."""
_PAGE = 1000
"""Objects in one answer of a listing, which is the most that the services send."""
_WHOLE = 1 << 24
"""Bytes up to which an object is fetched by one request; of a larger one, only the parts that are read."""
_PART = 1 << 20

_THROTTLED = {"429", "503"}
_ARCHIVED = {"InvalidObjectState", "BlobArchived"}
_ADVICE = {
    "400": "the store refuses the request: check region, endpoint and credentials in the environment",
    "401": "access is denied: give or renew the credentials in the environment",
    "403": "access is denied: give or renew the credentials in the environment",
    "404": "there is no such bucket",
    "429": "the store asks for fewer requests: wait",
    "503": "the store asks for fewer requests: wait",
}
"""What to do after an answer with this status, if it concerns the store and not one object."""
_SILENCE = "no answer of use: check the network, and endpoint, region and credentials in the environment"
_UNADDRESSABLE = (
    "a key of this folder has an empty part, '.', '..' or a control character, which cannot be addressed, and objects"
    " beside it may be missing here: rename it and run again"
)
_REPLACED = "the object was replaced since it was listed: run again"
_DELETED = "the object was deleted since it was listed: run again"
_FROZEN = "the object is in an archive tier that cannot be read at once: restore it and run again"
_UNREADABLE = "the store sent the object neither whole nor in parts, after retries: run again"
_CONTAINER = "an archive ({}) in a bucket is not opened: copy it into a folder, and run over that"
_LAST = "\U0010ffff"
_END = ObjectRef("", "", 0, "")
_FAILURES = (BaseError, OSError, ValueError)
"""The errors of obstore; builtin ones for missing objects and invalid settings."""
_Failure = BaseError | OSError | ValueError


class ObjectStoreSource:
    """The objects below a prefix of a bucket, in the order of their keys."""

    heads_at_once = 4 * _AT_ONCE

    def __init__(self, address: str) -> None:
        """Check that the bucket can be listed.

        Parameters
        ----------
        address
            ``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``az://container/prefix``.

        Raises
        ------
        UsageError
            It cannot be listed.
        """
        self._address = address
        scheme, _, path = address.partition("://")
        bucket, _, prefix = path.rstrip("/").partition("/")
        if not bucket:
            raise UsageError(f"the archive {address} names no bucket: {scheme}://BUCKET/PREFIX")
        try:
            self._store = STORES[scheme](bucket, prefix=prefix or None, retry_config=_RETRIES)
            self._list_one()
        except _FAILURES as error:
            raise UsageError(f"the archive {self._address} cannot be listed: {_advice(error)}") from None

    def __iter__(self) -> Iterator[ObjectRef]:
        """Yield every object but the markers of folders, and every folder with keys that obstore cannot address."""
        try:
            for ref, following in pairwise(chain(self._list("", ""), (_END,))):
                if ref.size or not following.source.startswith(f"{ref.source}/"):
                    yield ref
        except _FAILURES as error:
            raise self._lost(error) from None

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Read the first bytes of objects by ranged requests, many at once."""
        found = wait_for(self._read_heads(refs, count))
        errors = [item for item in found if not isinstance(item, bytes)]
        if errors:
            self._check_store(max(errors, key=lambda error: _status_of(error) in _THROTTLED))
        return [
            _check(ref, item) if isinstance(item, bytes) else _item_error(item)
            for ref, item in zip(refs, found, strict=True)
        ]

    def file(self, ref: ObjectRef) -> FilePart | None:  # noqa: ARG002 - no object of a store lies in a file
        """Return None: compiled code is given the bytes of objects."""
        return None

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open an object in the version that was listed. A small one is fetched whole."""
        size = ref.size or 0
        if size > _WHOLE:
            return cast("BinaryIO", io.BufferedReader(self._parts(ref, size), _PART))
        return io.BytesIO(self._read(ref, 0, size) if size else b"")

    async def _read_heads(self, refs: Sequence[ObjectRef], count: int) -> "list[bytes | _Failure]":
        slots = asyncio.Semaphore(_AT_ONCE)

        async def read(ref: ObjectRef) -> "bytes | _Failure":
            end = min(ref.size or 0, count)
            if end == 0:
                return b""
            async with slots:
                try:
                    return bytes(await obstore.get_range_async(self._store, str(ref.location), start=0, end=end))
                except _FAILURES as error:
                    return error

        return await asyncio.gather(*map(read, refs))

    def _parts(self, ref: ObjectRef, size: int) -> RangeReader:
        """Return a stream that fetches only the parts that are read."""

        def read(position: int, count: int) -> bytes:
            end = min(position + count, size)
            return self._read(ref, position, end) if end > position else b""

        return RangeReader(read, lambda: size)

    def _read(self, ref: ObjectRef, start: int, end: int) -> bytes:
        """Read a part of an object in the version that was listed, even if the store ignores If-Match."""
        try:
            found = obstore.get(self._store, str(ref.location), options={"range": (start, end)})
            data = bytes(found.bytes()) if _version_of(found.meta) == ref.version else b""
        except _FAILURES as error:
            self._check_store(error)
            raise _item_error(error) from None
        if len(data) != end - start:
            raise ItemError(Reason.READ_ERROR, _REPLACED)
        return data

    def _list(self, folder: str, after: str) -> Generator[ObjectRef, None, bool]:
        """Yield the objects below a folder whose keys come after ``after``; return False if some may be missing.

        obstore shows the marker of a folder, ``a/``, as an empty object ``a``. One out of order has children elsewhere
        or the name of a real object.
        """
        is_whole = True
        while True:
            last = after
            try:
                for meta in self._pages(folder, after):
                    path = meta["path"]
                    if path > last or (path > after and meta["size"]):
                        yield _ref(meta)
                        last = path
                return is_whole
            except InvalidPathError:  # the page is lost
                is_whole, after = False, (yield from self._pass(folder, last))
                if after == _end_of(folder):
                    return False
            except BaseError:  # obstore does not repeat a request whose answer breaks off
                if last == after:
                    raise
                after = last

    def _pass(self, folder: str, after: str) -> Generator[ObjectRef, None, str]:
        """List folder by folder to the end of the next one with a key that cannot be addressed; return that end."""
        try:
            level = obstore.list_with_delimiter(self._store, folder or None)
        except InvalidPathError:
            yield ObjectRef(f"{folder}/", folder, 0, "", Verdict(Stage.LIST, Reason.READ_ERROR, _UNADDRESSABLE))
            with suppress(InvalidPathError):  # "0" comes after "/" and ".", and S3 can begin there
                beyond = self._pages(folder, f"{folder}/0".lstrip("/"))
                yield from (_ref(meta) for meta in beyond if meta["path"] > after)
            return _end_of(folder)
        names = [(f"{name}/", None) for name in level["common_prefixes"]]
        entries = [*names, *((meta["path"], meta) for meta in level["objects"])]
        for path, meta in sorted(entries, key=itemgetter(0)):
            end = path if meta is not None else _end_of(path[:-1])
            if end <= after:
                continue
            if meta is not None:
                yield _ref(meta)
            elif not (yield from self._list(path[:-1], after)):
                return end
        return _end_of(folder)

    def _pages(self, folder: str, after: str) -> "Iterator[ObjectMeta]":
        pages = obstore.list(self._store, folder or None, offset=after or None, chunk_size=_PAGE)
        return chain.from_iterable(pages)

    def _list_one(self) -> None:
        with suppress(InvalidPathError):  # the store has answered
            next(iter(obstore.list(self._store, chunk_size=1)), None)

    def _check_store(self, error: _Failure) -> None:
        """Raise `SourceError` if the store as a whole fails, as opposed to one object."""
        if _status_of(error) in _THROTTLED:
            raise self._lost(error) from None
        try:
            self._list_one()
        except _FAILURES as other:
            raise self._lost(other) from None

    def _lost(self, error: _Failure) -> SourceError:
        return SourceError(
            f"the archive {self._address} can no longer be read: {_advice(error)}, then run the same command to go on"
        )


def _end_of(folder: str) -> str:
    """A key after all of a folder."""
    return f"{folder}/{_LAST}".lstrip("/")


def _ref(meta: "ObjectMeta") -> ObjectRef:
    return ObjectRef(meta["path"], meta["path"], meta["size"], _version_of(meta))


def _version_of(meta: "ObjectMeta") -> str:
    """Return the ETag, in quotes as RFC 9110 section 8.8.3 wants it; Azure lists it without."""
    tag = meta["e_tag"]
    if tag is None:
        return f"{int(meta['last_modified'].timestamp())} {meta['size']}"  # headers have no fractions of a second
    return tag if tag.startswith(('"', "W/")) else f'"{tag}"'


def _check(ref: ObjectRef, head: bytes) -> bytes | ItemError:
    """Refuse a container."""
    kind: str | None = kinds.container_kind(head)
    suffix = kinds.suffix_kind(ref.source)
    if suffix in {Suffix.ISO, Suffix.PART} and not kinds.is_dicom(head):
        kind = suffix
    return ItemError(Reason.CONTAINER_NOT_OPENED, _CONTAINER.format(kind)) if kind else head


def _status_of(error: _Failure) -> str | None:
    found = re.search(r"status code: (\d{3})", str(error))
    return found[1] if found else None


def _code_of(error: _Failure) -> str | None:
    """Error code of a service, a word such as ``NoSuchBucket``."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else None


def _advice(error: _Failure) -> str:
    if isinstance(error, ValueError):
        return "its prefix has an empty part, '.' or '..'"
    status = _status_of(error)
    advice = _ADVICE.get(status or "", _SILENCE)
    return f"{_code_of(error) or f'HTTP status {status}'}: {advice}" if status else advice


def _item_error(error: _Failure) -> ItemError:
    if isinstance(error, PreconditionError):
        return ItemError(Reason.READ_ERROR, _REPLACED)
    if isinstance(error, FileNotFoundError):
        return ItemError(Reason.READ_ERROR, _DELETED)
    if _code_of(error) in _ARCHIVED:
        return ItemError(Reason.READ_ERROR, _FROZEN)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return ItemError(Reason.PERMISSION_DENIED, EXPLANATIONS[Reason.PERMISSION_DENIED])
    return ItemError(Reason.READ_ERROR, _UNREADABLE)
