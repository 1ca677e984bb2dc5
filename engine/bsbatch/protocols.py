"""The seams: what a source, a backend, a sink and an executor must do. A fake of each can be written in a few lines."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bsbatch.records import Inference, ObjectRef, PinnedImage, Unit, UnitOutcome

Images = NDArray[np.float32] | Sequence[NDArray[np.float32]]
"""``(N, 1, 512, 512)`` in [0, 1], as one array or as one of ``(1, 512, 512)`` for each image, which saves a copy."""


class Source(Protocol):
    """Where objects come from."""

    def __iter__(self) -> Iterator[ObjectRef]:
        """List the objects in a stable order; reads no pixels and raises only `bsbatch.errors.SourceError`."""
        ...

    def head(self, ref: ObjectRef, count: int) -> bytes:
        """The first bytes of one object, or all of them; raises what `open` raises."""
        ...

    def path(self, ref: ObjectRef) -> str | None:
        """Where the file system has it, for compiled code to read; None where it is no file."""
        ...

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open one object, seekable; it is read in few large pieces and needs no buffer.

        Raises
        ------
        bsbatch.errors.ItemError
            It cannot be opened, after retries.
        bsbatch.errors.SourceError
            The source as a whole is gone.
        """
        ...


class Backend(Protocol):
    """Owned by one thread between enter and exit; nothing heavy happens before enter.

    Constructed from the model, the effort and ``with_cams``, which asks for heat maps. Without it no map is computed.
    """

    precision: str
    """Part of the run configuration: results of another precision are other results."""
    batch_size: int
    """Examinations in one call, as it was asked for or as suits the backend."""
    lanes: int
    """Images that are worked on side by side; a batch of fewer leaves processors idle."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def infer(self, images: Images) -> Inference:
        """Score a batch, and leave its images as they were.

        Returns
        -------
        Probabilities, and maps if it was made with them; not reused by the next call.

        Raises
        ------
        bsbatch.errors.BackendError
            The backend is dead; the run stops and can be resumed.
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


@runtime_checkable
class LendsImages(Protocol):
    """A backend, once entered, that lends memory for images: `Backend.infer` accepts them and returns them itself."""

    image_pool: ImagePool


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
    """Where executed units go."""

    def commit(self, outcome: UnitOutcome) -> None:
        """Make one unit durable, wholly or not at all.

        Raises
        ------
        bsbatch.errors.OutputError
            The output cannot be written.
        """
        ...


class Executor(Protocol):
    """Who executes units, here or elsewhere."""

    def run(
        self, units: Iterable[Unit], work: Callable[[Iterable[Unit]], Generator[UnitOutcome, None, None]]
    ) -> Generator[UnitOutcome, None, None]:
        """Yield the outcome of every unit; ``work`` takes any part of them, in order."""
        ...
