"""Compiles a model for GPUs: the float16 graph, then one engine for each target, beside the model.

The same calls serve TensorRT 10 and 11 and TensorRT-RTX; `bsbatch.cuda.library` holds their differences.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from bsbatch.cuda import engines
from bsbatch.cuda.engines import DEFAULT_LEVEL, Engine, EngineKey, EngineTarget, find_engine
from bsbatch.cuda.library import LARGEST_BATCH, LIBRARIES, Flavour, Library, available_flavour, logger_of
from bsbatch.errors import MissingPackageError, ModelError, UsageError
from bsbatch.geometry import INPUT_SHAPE
from bsbatch.host.files import cache_folder, lock_folder, replace_file
from bsbatch.imaging import preprocess
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Manifest, Model, sha256_of
from bsbatch_build.checks.engine_check import GoldenScores, check_engine, runs_here, score_golden_examinations
from bsbatch_build.export.convert import to_bytes
from bsbatch_build.export.precision import PRECISION, HalfGraph, derive_half_graph, read_graph, replace_products

logger = logging.getLogger(__name__)

BATCHES = (1, 16, 32, 64)
HIGHEST_LEVEL = 5
_NO_LIBRARY = (
    'no engine: neither TensorRT (pip install "bsbatch[tensorrt]") nor TensorRT-RTX ("bsbatch[rtx]") is installed'
)


@dataclass(frozen=True, slots=True)
class CompileSettings:
    """Model, library, targets and batch sizes of a compilation."""

    folder: Path
    """Model directory."""
    flavour: Flavour | None = None
    """Library; None for the installed one. Without any, only the float16 graph is made."""
    architectures: tuple[str, ...] = ()
    """Names such as ``sm_89``; empty for all that the library offers, or for the GPU of this machine."""
    batches: tuple[int, ...] = BATCHES
    """The largest batch of each profile: with 1, 32, 64 batches of 1, of 2 to 32 and of 33 to 64. At most 127."""
    level: int = DEFAULT_LEVEL
    """TensorRT's optimisation level, 0 to 5: higher ones take longer to compile and may compute faster."""

    def __post_init__(self) -> None:
        """Refuse profiles that overlap or are too large for TensorRT, and architectures named twice."""
        ascending = sorted(set(self.batches))
        if list(self.batches) != ascending or not ascending or ascending[0] < 1:
            raise UsageError("--batch must be ascending numbers from 1 on, for example 1,32,64")
        if ascending[-1] > LARGEST_BATCH:
            raise UsageError(
                f"--batch {ascending[-1]} is too large: the first convolution of {LARGEST_BATCH + 1} images has 2^31 "
                f"values, more than TensorRT can count; give at most {LARGEST_BATCH}"
            )
        if not 0 <= self.level <= HIGHEST_LEVEL:
            raise UsageError(f"--level must be a number from 0 to {HIGHEST_LEVEL}")
        if len(set(self.architectures)) != len(self.architectures):
            raise UsageError("--arch names an architecture twice")

    @property
    def library(self) -> Library | None:
        """Library to use; None if none is requested and none is installed.

        Raises
        ------
        MissingPackageError
            Architectures are named, and no library is installed.
        """
        flavour = self.flavour or available_flavour()
        if flavour is None:
            if self.architectures:
                lines = "; ".join(f"{name}: {library.missing}" for name, library in LIBRARIES.items())
                raise MissingPackageError(f"--arch needs a library that compiles. {lines}")
            return None
        return LIBRARIES[flavour]


class ProgressListener(Protocol):
    """Receiver of progress; the library calls it from threads of its own."""

    def on_examination(self, activity: str) -> None:
        """Note one examination made or scored, of `bsbatch_build.export.precision.STEPS`."""
        ...

    def on_phase_start(self, phase: str, steps: int) -> None:
        """Note the start of a phase of the library; phases nest, and a name may occur again."""
        ...

    def on_step(self, phase: str, step: int) -> bool:
        """Note a finished step, counted from 0, of a phase. False cancels the engine."""
        ...

    def on_phase_end(self, phase: str) -> None:
        """Note the end of a phase."""
        ...


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A model directory with its float16 graph and its engines."""

    model: Model
    graph: HalfGraph
    engines: tuple[Engine, ...]
    differences: Mapping[str, float] = field(default_factory=dict)
    """Name of each engine that was compared on this GPU -> its largest difference of a probability from float32."""

    def summary(self) -> list[str]:
        """Lines for the terminal: model, float16 graph and its rounding, engines."""
        rounding = self.graph.rounding
        engines = [self._line(engine) for engine in self.engines]
        maps = [] if rounding.cam_difference is None else [f"{rounding.cam_difference:.1e} of a map's largest value"]
        distance = rounding.distance_difference
        distances = [] if distance is None else [f"{distance:.1e} of the distance from the training data"]
        return [
            f"model       {self.model.folder}",
            f"id          {self.model.model_id}",
            f"fp16 graph  {self.graph.path}",
            f"largest     {rounding.largest:,.1f} of 65,504 at {rounding.tensor}",
            f"difference  {rounding.difference:.1e} to fp32, on {rounding.examinations} golden examinations",
            *(f"maps        {line}" for line in maps),
            *(f"distances   {line}" for line in distances),
            *(f"engine      {line}" for line in engines or [_NO_LIBRARY]),
        ]

    def _line(self, engine: Engine) -> str:
        size = f"{engine.path} ({engine.path.stat().st_size / 2**20:.0f} MiB)"
        difference = self.differences.get(engine.key.name)
        return size if difference is None else f"{size}, {difference:.1e} to fp32 on this GPU"


def compile_model(settings: CompileSettings, listener: ProgressListener) -> CompiledModel:
    """Make the float16 graph and the engines that do not exist yet.

    Raises
    ------
    ModelError
        The model cannot be used, float16 cannot hold it, the library cannot compile it, or its engine differs from
        float32 on the GPU that is here.
    UsageError
        The library does not compile for a target, or is not installed.
    KeyboardInterrupt
        The listener cancelled.
    """
    model = Model.load(settings.folder, preprocess.VERSION)
    compilers = _compilers(settings, model, listener)
    graph = derive_half_graph(model, listener.on_examination)
    check = _EngineCheck(model)
    engines = tuple(_compile(model, graph.path, compiler, settings, check) for compiler in compilers)
    return CompiledModel(model, graph, engines, check.differences)


def _compilers(settings: CompileSettings, model: Model, listener: ProgressListener) -> list["_Compiler"]:
    """One compiler for each target; two if the model has heat maps."""
    library = settings.library
    if library is None:
        return []
    loaded = library.load()
    return [
        _Compiler(library, loaded, EngineTarget(library.module, loaded.__version__, target, outputs), listener)
        for target in library.targets(loaded, settings.architectures)
        for outputs in _outputs(model.manifest)
    ]


def _outputs(manifest: Manifest) -> list[tuple[str, ...]]:
    """Outputs of each engine: an engine computes all of its outputs, so a run without heat maps needs its own."""
    choices = (False, True) if manifest.cam_name is not None else (False,)
    return [tuple(manifest.outputs(with_cams=with_cams).values()) for with_cams in choices]


class _EngineCheck:
    """Compares engines with float32 before they are stored, if the GPU that they are for is here."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._golden: GoldenScores | None = None
        self.differences: dict[str, float] = {}

    def compare(self, compiler: "_Compiler", path: Path, key: EngineKey) -> None:
        """Compare a compiled engine; raises `ModelError` if it differs."""
        if not runs_here(compiler.library, key.target):
            return
        self._golden = self._golden or score_golden_examinations(self._model)
        engine, manifest = Engine(path, key), self._model.manifest
        self.differences[key.name] = check_engine(compiler.loaded, engine, manifest, self._golden)


def _compile(
    model: Model, graph: Path, compiler: "_Compiler", settings: CompileSettings, check: _EngineCheck
) -> Engine:
    target, batches, level, half = compiler.target, settings.batches, settings.level, sha256_of(graph)[:16]
    key = EngineKey(target.library, target.version, target.gpu, engines.PRECISION, half, batches, target.outputs, level)

    def make(_: Path, aside: Path) -> None:
        compiler.make(aside, graph=graph, batches=batches, level=level)
        check.compare(compiler, aside, key)

    derive_file(model, Derivation(key.name, str(key), make))
    return find_engine(model, target)


class _Compiler:
    """A library for one target and choice of outputs."""

    def __init__(self, library: Library, loaded: ModuleType, target: EngineTarget, listener: ProgressListener) -> None:
        self.target, self.library, self.loaded = target, library, loaded
        self._listener = listener
        self._logger = logger_of(loaded)

    def make(self, aside: Path, *, graph: Path, batches: tuple[int, ...], level: int) -> None:
        """Compile a float16 graph into a file.

        Raises
        ------
        ModelError
            The library cannot compile it; the message ends with the library's own.
        KeyboardInterrupt
            The listener cancelled.
        """
        builder = self.loaded.Builder(self._logger)
        network, parser = self._parse(builder, self._bytes_of(graph))
        config = builder.create_builder_config()
        for profile in _profiles(builder, network.get_input(0).name, batches):
            config.add_optimization_profile(profile)
        self.library.set_target(self.loaded, config, self.target.gpu)
        config.builder_optimization_level = level
        config.clear_flag(self.loaded.BuilderFlag.TF32)  # set by default: the head's float32 would lose 13 bits
        monitor = config.progress_monitor = _make_monitor(self.loaded, self._listener)
        with nullcontext() if self.library.is_ahead_of_time else _reuse_timings(config, self.target):
            plan = builder.build_serialized_network(network, config)
        del parser  # until here the network reads weights that the parser owns
        if monitor.is_cancelled:
            raise KeyboardInterrupt
        if plan is None:
            raise ModelError(f"{self.target.library} cannot compile {graph} for {self.target.gpu}: {self._logger.last}")
        aside.write_bytes(plan)

    def _bytes_of(self, graph: Path) -> bytes:
        if self.target.gpu in self.library.without_float32_matmul:
            return to_bytes(replace_products(read_graph(graph)))
        return graph.read_bytes()

    def _parse(self, builder: Any, graph: bytes) -> tuple[Any, Any]:
        # TensorRT 11 and TensorRT-RTX have only strongly typed networks and ignore the flag
        typed = 1 << int(self.loaded.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = self.loaded.OnnxParser(network, self._logger)
        if not parser.parse(graph):
            reason = parser.get_error(0).desc() if parser.num_errors else self._logger.last
            raise ModelError(f"{self.target.library} cannot read {PRECISION} ONNX: {reason}")
        for output in [network.get_output(index) for index in range(network.num_outputs)]:
            if output.name not in self.target.outputs:
                network.unmark_output(output)
        return network, parser


def _profiles(builder: Any, name: str, batches: tuple[int, ...]) -> list[Any]:
    """Consecutive ranges of batch sizes, each tuned for its largest."""
    profiles = []
    for smallest, largest in zip((1, *(batch + 1 for batch in batches)), batches, strict=False):
        profile = builder.create_optimization_profile()
        shapes = [(batch, *INPUT_SHAPE) for batch in (smallest, largest, largest)]
        profile.set_shape(name, *shapes)
        profiles.append(profile)
    return profiles


@contextmanager
def _reuse_timings(config: Any, target: EngineTarget) -> Iterator[None]:
    """Load earlier kernel timings of this GPU into the builder and save its new ones; without a cache, time anew."""
    path = _timing_file(target)
    if path is None:
        yield
        return
    config.set_timing_cache(config.create_timing_cache(path.read_bytes() if path.exists() else b""), False)
    yield
    cache = config.get_timing_cache()
    if cache is not None:
        _save_timings(path, bytes(cache.serialize()))


def _timing_file(target: EngineTarget) -> Path | None:
    try:
        folder = cache_folder() / "timings"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home directory, or a read-only cache
        return None
    return folder / f"{target.library}-{target.version}-{target.gpu}"


def _save_timings(path: Path, timings: bytes) -> None:
    try:
        with lock_folder(path.parent), replace_file(path) as aside:
            aside.write_bytes(timings)
    except OSError as error:  # the next build times again
        logger.debug("timings are not saved: %s", error)


class _Monitor(Protocol):
    is_cancelled: bool


def _make_monitor(library: ModuleType, listener: ProgressListener) -> _Monitor:
    interface: Any = library.IProgressMonitor

    class Monitor(interface):  # type: ignore[misc]  # its class is known when the library is loaded
        """Forwards the progress of the library to the listener."""

        def __init__(self) -> None:
            interface.__init__(self)
            self.is_cancelled = False

        def phase_start(self, name: str, _parent: str | None, steps: int) -> None:
            listener.on_phase_start(name, steps)

        def step_complete(self, name: str, step: int) -> bool:
            self.is_cancelled = self.is_cancelled or not listener.on_step(name, step)
            return not self.is_cancelled

        def phase_finish(self, name: str) -> None:
            listener.on_phase_end(name)

    return Monitor()
