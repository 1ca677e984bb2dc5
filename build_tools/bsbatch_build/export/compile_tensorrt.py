"""Compiles a model for GPUs: the float16 graph, then one engine for each target, beside the model.

The same calls serve TensorRT 10 and 11 and TensorRT-RTX; what differs stands in `bsbatch.cuda.library`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from bsbatch.cuda.engines import Engine, EngineKey, EngineTarget, find_engine
from bsbatch.cuda.library import LIBRARIES, Flavour, Library, available_flavour
from bsbatch.errors import MissingPackageError, ModelError, UsageError
from bsbatch.geometry import INPUT_SHAPE
from bsbatch.host.files import cache_folder, lock_folder, replace_file
from bsbatch.imaging import preprocess
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Manifest, Model, sha256_of
from bsbatch_build.export.convert import to_bytes
from bsbatch_build.export.precision import PRECISION, HalfGraph, half_graph, products_as_sums, read_graph

logger = logging.getLogger(__name__)

BATCHES = (1, 32, 64)


@dataclass(frozen=True, slots=True)
class CompileSettings:
    """What to compile, and for what."""

    folder: Path
    """Model directory."""
    flavour: Flavour | None = None
    """Library; None takes the one that is here, and where there is none makes the float16 graph alone."""
    architectures: tuple[str, ...] = ()
    """Names such as ``sm_89``; empty for all that the library offers, or the GPU that is here."""
    batches: tuple[int, ...] = BATCHES
    """The largest batch of each profile: with 1, 32, 64 batches of 1, of 2 to 32 and of 33 to 64."""

    def __post_init__(self) -> None:
        """Refuse profiles that overlap, and targets without a library."""
        ascending = sorted(set(self.batches))
        if list(self.batches) != ascending or not ascending or ascending[0] < 1:
            raise UsageError("--batch must be ascending numbers from 1 on, for example 1,32,64")
        if len(set(self.architectures)) != len(self.architectures):
            raise UsageError("--arch names an architecture twice")

    @property
    def library(self) -> Library | None:
        """The library to use; None where none was asked for and none is here.

        Raises
        ------
        MissingPackageError
            The one that was asked for is not installed.
        UsageError
            There is no library, and architectures were named.
        """
        flavour = self.flavour or available_flavour()
        if flavour is None:
            if self.architectures:
                lines = "; ".join(f"{name}: {library.missing}" for name, library in LIBRARIES.items())
                raise MissingPackageError(f"--arch needs a library that compiles. {lines}")
            return None
        return LIBRARIES[flavour]


class Watcher(Protocol):
    """Who is told how it goes; the library calls from threads of its own."""

    def examined(self, what: str) -> None:
        """An examination was made or scored, of `bsbatch_build.export.precision.STEPS`."""
        ...

    def started(self, phase: str, steps: int) -> None:
        """A phase of the library begins; phases nest, and a name may come again."""
        ...

    def stepped(self, phase: str, step: int) -> bool:
        """A step, from 0 on, of a phase is done; False gives the engine up."""
        ...

    def finished(self, phase: str) -> None:
        """A phase ended."""
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """What lies in the model directory now."""

    model: Model
    graph: HalfGraph
    engines: tuple[Engine, ...]


def compile_model(settings: CompileSettings, watcher: Watcher) -> Compiled:
    """Make the float16 graph and the engines that are not there yet.

    Raises
    ------
    ModelError
        The model cannot be used, float16 cannot hold it, or the library cannot compile it.
    UsageError
        The library does not compile for a target, or is not installed.
    KeyboardInterrupt
        The watcher gave it up.
    """
    model = Model.load(settings.folder, preprocess.VERSION)
    compilers = _compilers(settings, model, watcher)
    graph = half_graph(model, watcher.examined)
    engines = tuple(_compiled(model, graph.path, compiler, settings.batches) for compiler in compilers)
    return Compiled(model, graph, engines)


def _compilers(settings: CompileSettings, model: Model, watcher: Watcher) -> list["_Compiler"]:
    """One for each target and, where the model gives maps, one more."""
    library = settings.library
    if library is None:
        return []
    loaded = library.load()
    return [
        _Compiler(library, loaded, EngineTarget(library.module, loaded.__version__, target, outputs), watcher)
        for target in library.targets(loaded, settings.architectures)
        for outputs in _outputs(model.manifest)
    ]


def _outputs(manifest: Manifest) -> list[tuple[str, ...]]:
    """What is not asked is not computed, so a run without maps has an engine without them."""
    choices = (False, True) if manifest.cam_name is not None else (False,)
    return [manifest.outputs(with_cams=with_cams) for with_cams in choices]


def _compiled(model: Model, graph: Path, compiler: "_Compiler", batches: tuple[int, ...]) -> Engine:
    place = compiler.place
    key = EngineKey(place.library, place.version, place.gpu, PRECISION, sha256_of(graph)[:16], batches, place.outputs)
    derive_file(model, Derivation(key.name, str(key), partial(compiler.make, graph=graph, batches=batches)))
    return find_engine(model, place)


class _Compiler:
    """A library, for one target and choice of outputs."""

    def __init__(self, library: Library, loaded: Any, place: EngineTarget, watcher: Watcher) -> None:
        self.place = place
        self._library, self._loaded, self._watcher = library, loaded, watcher
        self._words = _logger(loaded)

    def make(self, _: Path, aside: Path, *, graph: Path, batches: tuple[int, ...]) -> None:
        """Compile a float16 graph into a file.

        Raises
        ------
        ModelError
            The library cannot compile it; with the library's words.
        KeyboardInterrupt
            The watcher gave it up.
        """
        builder = self._loaded.Builder(self._words)
        network, parser = self._network(builder, self._bytes_of(graph))
        config = builder.create_builder_config()
        for profile in _profiles(builder, network.get_input(0).name, batches):
            config.add_optimization_profile(profile)
        self._library.set_target(self._loaded, config, self.place.gpu)
        monitor = config.progress_monitor = _monitor(self._loaded, self._watcher)
        with nullcontext() if self._library.is_ahead_of_time else _timings(config, self.place):
            plan = builder.build_serialized_network(network, config)
        del parser  # the network reads weights that the parser holds
        if monitor.is_given_up:
            raise KeyboardInterrupt
        if plan is None:
            raise ModelError(f"{self.place.library} cannot compile {graph} for {self.place.gpu}: {self._words.last}")
        aside.write_bytes(plan)

    def _bytes_of(self, graph: Path) -> bytes:
        if self.place.gpu in self._library.without_float32_matmul:
            return to_bytes(products_as_sums(read_graph(graph)))
        return graph.read_bytes()

    def _network(self, builder: Any, graph: bytes) -> tuple[Any, Any]:
        # TensorRT 11 and TensorRT-RTX know no other networks and ignore the flag
        typed = 1 << int(self._loaded.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = self._loaded.OnnxParser(network, self._words)
        if not parser.parse(graph):
            words = parser.get_error(0).desc() if parser.num_errors else self._words.last
            raise ModelError(f"{self.place.library} cannot read {PRECISION} ONNX: {words}")
        for output in [network.get_output(index) for index in range(network.num_outputs)]:
            if output.name not in self.place.outputs:
                network.unmark_output(output)
        return network, parser


def _profiles(builder: Any, name: str, batches: tuple[int, ...]) -> list[Any]:
    """One profile after the other, tuned for its largest batch."""
    profiles = []
    for smallest, largest in zip((1, *(batch + 1 for batch in batches)), batches, strict=False):
        profile = builder.create_optimization_profile()
        shapes = [(batch, *INPUT_SHAPE) for batch in (smallest, largest, largest)]
        profile.set_shape(name, *shapes)
        profiles.append(profile)
    return profiles


@contextmanager
def _timings(config: Any, place: EngineTarget) -> Iterator[None]:
    """Give the builder what it timed before on this GPU, and keep what it times now; what cannot be kept is no loss."""
    path = _timing_file(place)
    if path is None:
        yield
        return
    config.set_timing_cache(config.create_timing_cache(path.read_bytes() if path.exists() else b""), False)
    yield
    cache = config.get_timing_cache()
    if cache is not None:
        _keep(path, bytes(cache.serialize()))


def _timing_file(place: EngineTarget) -> Path | None:
    try:
        folder = cache_folder() / "timings"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home, or a cache that is read-only
        return None
    return folder / f"{place.library}-{place.version}-{place.gpu}"


def _keep(path: Path, timings: bytes) -> None:
    try:
        with lock_folder(path.parent), replace_file(path) as aside:
            aside.write_bytes(timings)
    except OSError as error:  # the next one is timed again
        logger.debug("timings are not kept: %s", error)


def _logger(library: Any) -> Any:
    class Words(library.ILogger):  # type: ignore[misc]  # its class is known when the library is loaded
        """Hands the library's words on to `logging` and keeps its last error."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.last = "it does not say why"

        def log(self, severity: Any, message: str) -> None:
            if severity <= library.ILogger.ERROR:
                self.last = message
            logger.debug("%s: %s", severity, message)

    return Words()


def _monitor(library: Any, watcher: Watcher) -> Any:
    class Monitor(library.IProgressMonitor):  # type: ignore[misc]  # its class is known when the library is loaded
        """Hands on how far the library is."""

        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self.is_given_up = False

        def phase_start(self, name: str, _parent: str | None, steps: int) -> None:
            watcher.started(name, steps)

        def step_complete(self, name: str, step: int) -> bool:
            self.is_given_up = self.is_given_up or not watcher.stepped(name, step)
            return not self.is_given_up

        def phase_finish(self, name: str) -> None:
            watcher.finished(name)

    return Monitor()
