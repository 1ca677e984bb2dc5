"""The objects of a bucket in S3, Google Cloud Storage or Azure Blob Storage, through obstore.

Credentials, region and endpoint come from the environment variables of these services (``AWS_*``, ``GOOGLE_*``,
``AZURE_*``). Messages never quote obstore's errors: those hold keys of objects, and URLs that may be signed.
"""

import asyncio
import io
import re
from collections.abc import Callable, Iterator, Sequence
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
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict
from bsbatch.records import ObjectRef
from bsbatch.sources.containers import kinds
from bsbatch.sources.containers.kinds import Suffix

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
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
        error = next((item for item in found if not isinstance(item, bytes)), None)
        if error is not None:
            self._check_store(error)
        return [
            _check(ref, item) if isinstance(item, bytes) else _item_error(item)
            for ref, item in zip(refs, found, strict=True)
        ]

    def file(self, ref: ObjectRef) -> tuple[str, int] | None:  # noqa: ARG002 - no object of a store lies in a file
        """Return None: compiled code is given the bytes of objects."""
        return None

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open an object in the version that was listed. A small one is fetched whole."""
        size = ref.size or 0
        if size > _WHOLE:
            return cast(
                "BinaryIO", io.BufferedReader(_Parts(lambda start, end: self._read(ref, start, end), size), _PART)
            )
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

    def _list(self, folder: str, after: str) -> Iterator[ObjectRef]:
        """Yield the objects below a folder whose keys come after ``after``.

        obstore shows the marker of a folder, ``a/``, as an empty object ``a``. One out of order has children elsewhere
        or the name of a real object.
        """
        last = after
        try:
            pages = obstore.list(self._store, folder or None, offset=after or None, chunk_size=_PAGE)
            for meta in chain.from_iterable(pages):
                path = meta["path"]
                if path > last or (path > after and meta["size"]):
                    yield _ref(meta)
                    last = path
        except InvalidPathError:  # the whole page is lost, so this folder is listed level by level
            yield from self._list_level(folder, last)
        except BaseError:  # obstore does not repeat a request whose answer breaks off
            if last == after:
                raise
            yield from self._list(folder, last)

    def _list_level(self, folder: str, after: str) -> Iterator[ObjectRef]:
        """List folder by folder, so that a key that cannot be addressed costs no more than the folder it lies in."""
        try:
            level = obstore.list_with_delimiter(self._store, folder or None)
        except InvalidPathError:
            yield ObjectRef(f"{folder}/", folder, 0, "", Verdict(Stage.LIST, Reason.READ_ERROR, _UNADDRESSABLE))
            with suppress(InvalidPathError):  # "0" comes after "/" and ".", and S3 can begin there
                beyond = obstore.list(self._store, folder or None, offset=f"{folder}/0".lstrip("/"), chunk_size=_PAGE)
                yield from (_ref(meta) for meta in chain.from_iterable(beyond) if meta["path"] > after)
            return
        folders = ((f"{name}/", None) for name in level["common_prefixes"])
        for path, meta in sorted(
            chain(folders, ((meta["path"], meta) for meta in level["objects"])), key=itemgetter(0)
        ):
            if meta is None and f"{path[:-1]}0" > after:
                yield from self._list(path[:-1], after)
            elif meta is not None and path > after:
                yield _ref(meta)

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


class _Parts(io.RawIOBase):
    """A large object of which only those parts are fetched that are read."""

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size, self._position = read, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        with memoryview(buffer) as view:
            end = min(self._position + view.nbytes, self._size)
            data = self._read(self._position, end) if end > self._position else b""
            view[: len(data)] = data
        self._position += len(data)
        return len(data)


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
