"""Engines of a model: their keys in the manifest, and the search for one that fits this machine.

An engine is a derived file of the model (`bsbatch.models.derived`) whose maker is the engine's key. An engine that is
missing, damaged, or of another model, library or GPU is refused by name and never loaded. Light: loads no library.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bsbatch.errors import ModelError
from bsbatch.models.derived import DerivedFile, find_derived_files
from bsbatch.models.directory import DISTANCE, GRAPH, Model, sha256_of

_SEPARATOR = " | "
DEFAULT_LEVEL = 3
"""TensorRT's own."""
PRECISION = "fp16 without tf32"
"""That of the graph; float32 products are computed as such, and not with operands of 10 bits (TF32)."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that an engine depends on besides the model."""

    library: str
    """Import name, for example ``tensorrt_rtx``."""
    version: str
    target: str
    """Architecture, or architecture and model, of the GPU; see `bsbatch.cuda.library.Library.targets`."""
    precision: str
    """See `PRECISION`."""
    graph: str
    """First 16 hexadecimal digits of the SHA-256 of the compiled graph."""
    batches: tuple[int, ...]
    """Largest batch of each profile, ascending; a profile begins where the previous one ends."""
    outputs: tuple[str, ...]
    """Names of its outputs: probabilities, then heat maps; see `bsbatch.models.directory.Manifest.outputs`."""
    level: int = DEFAULT_LEVEL
    """How long the library searched for fast kernels, 0 to 5."""

    @property
    def name(self) -> str:
        """File name of the engine; one for each library, target and outputs."""
        return _name_of(self.library, self.target, self.outputs)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of `str`.

        Raises
        ------
        ValueError
            The text is no key.
        """
        library, version, target, precision, graph, batches, outputs, level = text.split(_SEPARATOR)
        numbers = tuple(int(batch) for batch in batches.split(","))
        return cls(library, version, target, precision, graph, numbers, tuple(outputs.split(",")), int(level))

    def __str__(self) -> str:
        """Return the key in one line."""
        batches, outputs = ",".join(str(batch) for batch in self.batches), ",".join(self.outputs)
        identity = self.library, self.version, self.target, self.precision, self.graph
        return _SEPARATOR.join((*identity, batches, outputs, str(self.level)))


@dataclass(frozen=True, slots=True)
class EngineTarget:
    """The library and GPU that must run an engine, and the outputs wanted of it."""

    library: str
    """Import name."""
    version: str
    """Version of the installed library."""
    gpu: str
    """Architecture, or architecture and model; see `bsbatch.cuda.library.Library.targets`."""
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """A checked engine that may be loaded."""

    path: Path
    key: EngineKey


def find_engine(model: Model, target: EngineTarget) -> Engine:
    """Find the engine of a model for a target and check its SHA-256.

    Raises
    ------
    ModelError
        There is none, or it is corrupted, outdated or foreign.
    """
    name = _name_of(target.library, target.gpu, target.outputs)
    refusals: list[ModelError] = []
    for file in find_derived_files(model, name):
        try:
            return Engine(file.path, _check(file, model, target))
        except ModelError as error:  # there may be an older one beside the model and a good one in the cache
            refusals.append(error)
    if refusals:
        raise refusals[0]
    raise ModelError(f"{model.folder} has no {name}: {_advice(model)}")


def _check(file: DerivedFile, model: Model, target: EngineTarget) -> EngineKey:
    """Return the key of an engine that fits; raises `ModelError` for any other."""
    path, advice = file.path, _advice(model)
    try:
        key = EngineKey.parse(file.entry.maker)
    except ValueError as error:
        raise ModelError(f"{path} is no engine that this bsbatch knows: {advice}") from error
    if (key.library, key.target) != (target.library, target.gpu):
        raise ModelError(f"{path} is foreign, made by {key.library} for {key.target}: {advice}")
    if key.outputs != target.outputs:
        raise ModelError(f"{path} is foreign, it gives {' and '.join(key.outputs)}: {advice}")
    if file.entry.source != model.manifest.files[GRAPH]:
        raise ModelError(f"{path} is outdated, it was compiled of another {GRAPH}: {advice}")
    if key.version != target.version:
        message = f"{path} is outdated, {key.library} {key.version} made it and {target.version} is installed: {advice}"
        raise ModelError(message)
    if key.precision != PRECISION:
        raise ModelError(f"{path} is outdated, it computes in {key.precision}, not in {PRECISION}: {advice}")
    _check_bytes(file, advice)
    return key


def _check_bytes(file: DerivedFile, advice: str) -> None:
    try:
        actual = sha256_of(file.path)
    except OSError as error:
        raise ModelError(f"{file.path} cannot be read ({error.strerror}): {advice}") from error
    if actual != file.entry.sha256:
        raise ModelError(f"{file.path} is corrupted (SHA-256 differs): {advice}")


def _name_of(library: str, gpu: str, outputs: tuple[str, ...]) -> str:
    """Return a file name such as ``model.tensorrt_rtx.sm_89.engine``, or ``...sm_89.cam.engine`` with heat maps.

    An engine computes all of its outputs, so runs without heat maps have one of their own. All have the distance if the
    model has one, so the name leaves it out.
    """
    return ".".join(("model", library, gpu, *(name for name in outputs[1:] if name != DISTANCE), "engine"))


def _advice(model: Model) -> str:
    return f"bsbatch-build compile {model.folder}"
