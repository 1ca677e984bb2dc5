"""Protocols of sources, backends, sinks and executors; a fake of each takes a few lines."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ItemError
from bsbatch.records import Inference, ObjectRef, PinnedImage, Unit, UnitOutcome

Images = NDArray[np.float32] | Sequence[NDArray[np.float32]]
"""``(N, 1, 512, 512)`` in [0, 1], as one array, or as an array ``(1, 512, 512)`` for each image, which saves a copy."""


class FilePart(NamedTuple):
    """Part of a file that holds an object as it is."""

    path: str
    offset: int
    length: int = -1
    """Bytes that have a checksum, all of the object; -1 if none is known."""
    crc: int = 0
    """CRC-32 of these bytes; compiled code compares it before a score is made from them."""


class Source(Protocol):
    """A source of objects. Several threads may call `heads`, `file` and `open` at once, also during a listing."""

    @property
    def heads_at_once(self) -> int:
        """Objects in one call of `heads` that suit the source."""
        ...

    def __iter__(self) -> Iterator[ObjectRef]:
        """List the objects in a stable order; reads no pixels and raises only `bsbatch.errors.SourceError`."""
        ...

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Read the first bytes of each object, or all of a shorter one; an error of one object takes its place.

        Raises
        ------
        bsbatch.errors.SourceError
            The whole source can no longer be read.
        """
        ...

    def file(self, ref: ObjectRef) -> FilePart | None:
        """Find the object in a file, for compiled code.

        Returns
        -------
        The part of a file that holds the object as it is; None if only `open` reads the object.
        """
        ...

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open one object, seekable; callers read few large pieces, so a buffer is not needed.

        The content is checked as far as the source has a checksum of it.

        Raises
        ------
        bsbatch.errors.ItemError
            The object cannot be opened, after retries.
        bsbatch.errors.SourceError
            The whole source can no longer be read.
        """
        ...


class Backend(Protocol):
    """Scores images. One thread owns it between enter and exit; nothing heavy happens before enter.

    Constructed by a `bsbatch.backends.registry.BackendFactory`, with or without heat maps.
    """

    precision: str
    """Part of the run configuration, because results depend on it."""
    batch_size: int
    """Examinations in one call: the requested number, or one that suits the backend."""
    lanes: int
    """Images computed at the same time; a smaller batch leaves processors idle."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def infer(self, images: Images) -> Inference:
        """Score a batch; its images are not modified.

        Returns
        -------
        Probabilities, and heat maps if it was constructed with them; the next call does not overwrite them.

        Raises
        ------
        bsbatch.errors.BackendError
            The backend can no longer infer; the run stops and can be resumed.
        """
        ...


class ImagePool(Protocol):
    """Memory for images, taken and returned by any thread."""

    def take(self) -> PinnedImage:
        """Take one; blocks until one is free."""
        ...

    def give_back(self, item: PinnedImage) -> None:
        """Return one."""
        ...


LENT_IMAGES = 64
"""Images that a backend lends to each thread that prepares, at least; more of them wait for no thread."""


@runtime_checkable
class LendsImages(Protocol):
    """A backend, once entered, that lends memory for images: `Backend.infer` accepts them and returns them itself."""

    image_pool: ImagePool


@runtime_checkable
class TakesHalves(Protocol):
    """A backend that computes in float16: it accepts such images, which the threads that read round in its place."""

    takes_halves: Literal[True]


@runtime_checkable
class QueuesBatches(Protocol):
    """A backend, once entered, whose devices have several batches before them: none waits for the host between two."""

    queued_size: int
    """Images in a batch to submit, at most."""
    queued: int
    """Batches that keep all devices at work."""

    def submit(self, images: Images) -> "Future[Inference]":
        """Queue a batch and return at once; see `Backend.infer`. Another thread than the owner may call it."""
        ...


@runtime_checkable
class DeviceClock(Protocol):
    """A backend that measures its devices."""

    @property
    def devices(self) -> int:
        """Devices at work."""
        ...

    def device_seconds(self) -> dict[str, float]:
        """Seconds that all devices together have spent so far, by part: H2D, compute, D2H."""
        ...


class Sink(Protocol):
    """A destination of executed units."""

    def commit(self, outcome: UnitOutcome) -> None:
        """Write one unit durably, completely or not at all.

        Raises
        ------
        bsbatch.errors.OutputError
            The output cannot be written.
        """
        ...


class Executor(Protocol):
    """Executes units, in this process or elsewhere."""

    def run(self, units: Iterable[Unit], is_stopping: Callable[[], bool]) -> Generator[UnitOutcome, None, None]:
        """Yield exactly one outcome of every examination and object of the units, in any order and any pieces.

        Once `is_stopping` returns True, the units in hand are finished, and no other is begun.
        """
        ...
