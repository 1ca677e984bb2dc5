"""A stand-in for TensorRT with the calls of a build in which it differs from TensorRT-RTX.

It checks its arguments and compiles nothing: its plan holds the number of earlier timings, the level, the flags, the
outputs and the shapes.
"""

from types import ModuleType, SimpleNamespace
from typing import Any

FOREIGN = b"of another GPU"


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.runs = content.count(b"run")

    def serialize(self) -> bytes:
        return b"run" * self.runs


class Config:
    """An ``IBuilderConfig``; without ``set_compute_capability``, which TensorRT has not."""

    def __init__(self) -> None:
        self.profiles: list[Any] = []
        self.progress_monitor: Any = None
        self.flags = {BuilderFlag.TF32}
        self.builder_optimization_level = 3
        self._cache: TimingCache | None = None

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def clear_flag(self, flag: str) -> None:
        self.flags.remove(flag)

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self._cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._cache


class BuilderFlag:
    TF32 = "TF32"


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        assert name not in self.shapes
        self.shapes[name] = shapes


class Network:
    """An ``INetworkDefinition`` of one input and two outputs."""

    def __init__(self) -> None:
        self.outputs = [SimpleNamespace(name="probabilities"), SimpleNamespace(name="cam")]

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> Any:
        assert index == 0
        return SimpleNamespace(name="image")

    def get_output(self, index: int) -> Any:
        return self.outputs[index]

    def unmark_output(self, output: Any) -> None:
        self.outputs.remove(output)


class Builder:
    def __init__(self, words: Any) -> None:
        self.words = words

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << 1
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        monitor, cache = config.progress_monitor, config.get_timing_cache()
        assert cache is not None
        timed_before, cache.runs = cache.runs, cache.runs + 1
        monitor.phase_start("Building engine", None, 1)
        goes_on = monitor.step_complete("Building engine", 0)
        monitor.phase_finish("Building engine")
        outputs = [output.name for output in network.outputs]
        shapes = [profile.shapes for profile in config.profiles]
        level = config.builder_optimization_level
        return f"{timed_before} {level} {sorted(config.flags)} {outputs} {shapes}".encode() if goes_on else None


class Parser:
    num_errors = 0

    def __init__(self, network: Any, words: Any) -> None: ...

    def parse(self, graph: bytes) -> bool:
        return b"block1_conv1" in graph


class Interface:
    """Base class of the callbacks."""

    ERROR = 1


def tensorrt() -> ModuleType:
    """The module."""
    module = ModuleType("tensorrt")
    parts = {
        "__version__": "11.4.0",
        "Builder": Builder,
        "BuilderFlag": BuilderFlag,
        "OnnxParser": Parser,
        "ILogger": Interface,
        "IProgressMonitor": Interface,
        "NetworkDefinitionCreationFlag": SimpleNamespace(STRONGLY_TYPED=1),
    }
    for name, part in parts.items():
        setattr(module, name, part)
    return module
