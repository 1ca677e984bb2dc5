"""A worker on another machine: it proves that it is of the run, then reads, prepares, scores and draws."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from bsbatch.config import OverlayFormat
from bsbatch.dicom.silence import silence_pydicom
from bsbatch.errors import BsbatchError, UsageError
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.intake import may_be_opened
from bsbatch.pipeline.screening import Screening
from bsbatch.protocols import Source
from bsbatch.records import Examination, ObjectRef, Outcome, Prediction, Unit
from bsbatch.run.assembly import Tools, screening_of
from bsbatch.run.probe import Probe, probe
from bsbatch.run.recipe import WorkerRecipe, versions
from bsbatch.sinks.overlays import Look, OverlaySink
from bsbatch.sources.address import open_source
from bsbatch.store.folder import holds_token
from bsbatch.telemetry import Telemetry

_FILES, _HEAD = 8, 1024
_TOLERANCE = 5e-3
"""Largest accepted difference of the test image's score: that of float16."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Facts that a worker must find as the driver has found them."""

    versions: tuple[tuple[str, str], ...]
    score: float
    """`bsbatch.run.probe.Probe.score` by ONNX Runtime on the driver's machine."""
    files: tuple[ObjectRef, ...]
    """Some objects of the archive."""
    digest: str
    """Of their first bytes."""
    token: str | None
    """Content of a file in the output folder; None if workers draw no overlays."""
    is_temporary: bool = False
    """True if the archive lies in the driver's folder for temporary files."""

    @classmethod
    def of(cls, source: Source, score: float, token: str | None, *, is_temporary: bool = False) -> "Proof":
        """Collect the facts of a run."""
        files = tuple(islice((ref for ref in source if ref.problem is None), _FILES))
        return cls(tuple(versions().items()), score, files, _digest(source, files), token, is_temporary)


@dataclass(frozen=True, slots=True)
class Worker:
    """Executes units one after the other; commits nothing."""

    screening: Screening
    overlays: OverlaySink | None
    telemetry: Telemetry
    probe: Probe

    def execute(self, exams: Sequence[Examination]) -> tuple[Outcome, ...]:
        """Return the outcomes of examinations, without their pixels: overlays are drawn here.

        Raises
        ------
        RunError
            This worker cannot go on.
        """
        (outcome,) = self.screening.execute([Unit(tuple(exams), ())])
        if self.overlays is not None:
            with self.telemetry.measure("overlays", len(outcome.outcomes)):
                self.overlays.commit(outcome)
        return tuple(map(_without_views, outcome.outcomes))

    def drain(self) -> dict[str, tuple[float, int]]:
        """Return busy seconds and items of each stage since the last call."""
        return self.telemetry.drain()


@contextmanager
def open_worker(recipe: WorkerRecipe, proof: Proof) -> Iterator[Worker]:
    """Load the model, enter the backend and compare everything with the driver's.

    Raises
    ------
    UsageError
        It is not as the driver's; the message says what differs, and what to do.
    """
    keep_freed_memory()
    _check_versions(proof)
    with silence_pydicom():
        source = _open_archive(recipe, proof)
        model = None if recipe.model is None else recipe.model.load()
        with recipe.backend_of(model) as backend, Isolation() as isolation:
            if backend.precision != recipe.precision:
                raise UsageError(f"it computes in {backend.precision}, the run in {recipe.precision}: see --backend")
            found = probe(backend)
            if abs(found.score - proof.score) > _TOLERANCE:
                raise UsageError(
                    f"it gives a test image the score {found.score:.6f} and not {proof.score:.6f}: compare the "
                    "backends with bsbatch-build verify there, or choose another --backend"
                )
            telemetry = Telemetry()
            tools = Tools(source, model, backend, telemetry, isolation)
            screening = screening_of(recipe, tools, recipe.effort.threads or 1, lambda _: None)
            yield Worker(screening, _open_overlays(recipe, proof), telemetry, found)


def _check_versions(proof: Proof) -> None:
    here = versions()
    for name, version in proof.versions:
        if here[name] != version:
            raise UsageError(f"its {name} has version {here[name]}, the run's {version}: install the same bsbatch")


def _open_archive(recipe: WorkerRecipe, proof: Proof) -> Source:
    advice = "mount the archive under the same path on every node, or name a bucket"
    if proof.is_temporary:
        advice += " (synthetic examinations, and others in the temporary folder, are on the driver's machine only)"
    try:
        source = open_source(recipe.archive, may_be_opened)
        found = _digest(source, proof.files)
    except BsbatchError as error:
        raise UsageError(f"{error}. It must see what the driver sees: {advice}") from error
    if found != proof.digest:
        raise UsageError(f"the archive {recipe.archive} has other files there than here: {advice}")
    return source


def _open_overlays(recipe: WorkerRecipe, proof: Proof) -> OverlaySink | None:
    form = recipe.maps.overlays
    if form is OverlayFormat.NONE:
        return None
    if not holds_token(recipe.out, proof.token):
        raise UsageError(
            f"it draws overlays and does not see {recipe.out}: put --out into a folder that all nodes mount under the "
            "same path, or add --overlay-format none"
        )
    look = Look(recipe.threshold, form, recipe.maps.style, recipe.is_calibrated)
    return OverlaySink(recipe.out, look, recipe.effort.threads or 1)


def _digest(source: Source, files: Sequence[ObjectRef]) -> str:
    """Return a digest of the first bytes of objects; an object that cannot be read counts as empty."""
    heads = source.heads(files, _HEAD)
    digests = (hashlib.sha256(head if isinstance(head, bytes) else b"").hexdigest() for head in heads)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _without_views(item: Outcome) -> Outcome:
    if isinstance(item, Prediction) and item.explanation is not None:
        return item._replace(explanation=replace(item.explanation, views=None))
    return item
