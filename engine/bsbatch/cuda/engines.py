"""Engines in a model directory: what each was compiled for, and which one may be loaded here.

Light. An engine is a derived file of the model (`bsbatch.models.derived`), whose maker is the engine's key. One that is
missing, damaged, or of another model, library or GPU is refused by name and never loaded and hoped for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bsbatch.errors import ModelError
from bsbatch.models.derived import DerivedFile, find_derived_files
from bsbatch.models.directory import GRAPH, Model, sha256_of

_SEPARATOR = " | "


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine was compiled of, by and for, besides the model."""

    library: str
    """Import name, for example ``tensorrt_rtx``."""
    version: str
    target: str
    """Architecture, or architecture and model of the GPU; see `bsbatch.cuda.library.Library.targets`."""
    precision: str
    """For example ``fp16``."""
    graph: str
    """The first 16 hexadecimal digits of the SHA-256 of the graph that was compiled."""
    batches: tuple[int, ...]
    """The largest batch of each profile, ascending; a profile begins where the one before it ends."""
    outputs: tuple[str, ...]
    """What it gives: probabilities, and maps behind them; see `bsbatch.models.directory.Manifest.outputs`."""

    @property
    def name(self) -> str:
        """What the engine's file is called; one for each library, target and outputs."""
        return _name(self.library, self.target, self.outputs)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gave.

        Raises
        ------
        ValueError
            It is something else.
        """
        library, version, target, precision, graph, batches, outputs = text.split(_SEPARATOR)
        numbers = tuple(int(batch) for batch in batches.split(","))
        return cls(library, version, target, precision, graph, numbers, tuple(outputs.split(",")))

    def __str__(self) -> str:
        """All of it in one line."""
        batches, outputs = ",".join(str(batch) for batch in self.batches), ",".join(self.outputs)
        return _SEPARATOR.join((self.library, self.version, self.target, self.precision, self.graph, batches, outputs))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine shall run."""

    library: str
    """Import name."""
    version: str
    """Of the library that is here."""
    target: str
    outputs: tuple[str, ...]
    """What it shall give there."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that may be loaded."""

    path: Path
    key: EngineKey


def find_engine(model: Model, place: Place) -> Engine:
    """The engine of a model for a place, after its bytes were checked.

    Raises
    ------
    ModelError
        There is none, or it is corrupted, outdated or foreign.
    """
    name = _name(place.library, place.target, place.outputs)
    found = find_derived_files(model, name)
    refusals: list[ModelError] = []
    for file in found:
        try:
            return Engine(file.path, _checked(file, model, place))
        except ModelError as error:  # an older one may lie beside the model and a good one in the cache
            refusals.append(error)
    if refusals:
        raise refusals[0]
    raise ModelError(f"{model.folder} has no {name}: {_advice(model)}")


def _checked(file: DerivedFile, model: Model, place: Place) -> EngineKey:
    path, advice = file.path, _advice(model)
    try:
        key = EngineKey.parse(file.entry.maker)
    except ValueError as error:
        raise ModelError(f"{path} is no engine that this bsbatch knows: {advice}") from error
    if (key.library, key.target) != (place.library, place.target):
        raise ModelError(f"{path} is foreign, made by {key.library} for {key.target}: {advice}")
    if key.outputs != place.outputs:
        raise ModelError(f"{path} is foreign, it gives {' and '.join(key.outputs)}: {advice}")
    if file.entry.source != model.manifest.files[GRAPH]:
        raise ModelError(f"{path} is outdated, it was compiled of another {GRAPH}: {advice}")
    if key.version != place.version:
        message = f"{path} is outdated, {key.library} {key.version} made it and {place.version} is here: {advice}"
        raise ModelError(message)
    _check_bytes(file, advice)
    return key


def _check_bytes(file: DerivedFile, advice: str) -> None:
    try:
        actual = sha256_of(file.path)
    except OSError as error:
        raise ModelError(f"{file.path} cannot be read ({error.strerror}): {advice}") from error
    if actual != file.entry.sha256:
        raise ModelError(f"{file.path} is corrupted (SHA-256 differs): {advice}")


def _name(library: str, target: str, outputs: tuple[str, ...]) -> str:
    """Without maps, ``model.tensorrt_rtx.sm_89.engine``; what is not asked is not computed, so maps are another one."""
    return ".".join(("model", library, target, *outputs[1:], "engine"))


def _advice(model: Model) -> str:
    return f"bsbatch-build compile {model.folder}"
