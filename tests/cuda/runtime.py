"""A stand-in for TensorRT on the fake device, with the calls that running an engine makes; scores are image means.

A heat map is the first pixel of each of its cells, minus a half.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.fake import FakeDevice

VERSION = "1.7.1"
PLAN, PLAN_WITH_CAMS = b"a plan", b"a plan with maps"


class Runtime:
    """An ``IRuntime``: deserialises plans for its device."""

    def __init__(self, library: "FakeLibrary") -> None:
        self._library = library

    def deserialize_cuda_engine(self, plan: bytes) -> "Plan | None":
        outputs = {PLAN: {"probabilities"}, PLAN_WITH_CAMS: {"probabilities", "cam"}}.get(plan)
        if outputs is None:
            self._library.log("the plan is of another version")
            return None
        return Plan(self._library, outputs)


class Plan:
    """An ``ICudaEngine``."""

    def __init__(self, library: "FakeLibrary", outputs: set[str]) -> None:
        self._library, self._outputs, self._made = library, outputs, 0

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return self._library.needs * self._library.profiles[profile][1]

    def create_runtime_config(self) -> "RuntimeConfig":
        assert self._library.__name__ == "tensorrt_rtx"  # of TensorRT it has no kernels
        return RuntimeConfig(self._library)

    def create_execution_context(self, settings: "str | RuntimeConfig") -> "Context | None":
        if isinstance(settings, RuntimeConfig):
            assert settings.dynamic_shapes_kernel_specialization_strategy == "eager"
            assert settings.cache is not None
        strategy = settings.strategy if isinstance(settings, RuntimeConfig) else settings
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        assert isinstance(settings, RuntimeConfig) is (self._library.__name__ == "tensorrt_rtx")
        self._made += 1
        return Context(self._library, self._outputs) if self._made <= self._library.contexts else None


class RuntimeCache:
    """An ``IRuntimeCache``: the batch sizes that kernels were compiled for."""

    def __init__(self, library: "FakeLibrary") -> None:
        self._library = library

    def deserialize(self, content: bytes) -> bool:
        if not content.startswith(b"kernels"):
            return False
        self._library.compiled.update(int(number) for number in content.split()[1:])
        return True

    def serialize(self) -> bytes:
        return b"kernels " + " ".join(str(number) for number in sorted(self._library.compiled)).encode()


class RuntimeConfig:
    """An ``IRuntimeConfig``, which TensorRT-RTX has for its kernels."""

    def __init__(self, library: "FakeLibrary") -> None:
        self._library = library
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"
        self.strategy = "static"
        self.cache: RuntimeCache | None = None

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._library)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True


class Context:
    """An ``IExecutionContext``: takes its profile, then shapes and addresses, then execution."""

    def __init__(self, library: "FakeLibrary", outputs: set[str]) -> None:
        self._library, self._outputs, self._profile = library, outputs, -1
        self._shape: tuple[int, ...] = ()
        self._consumed = self._workspace = 0
        self._addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self._profile = profile
        return stream in self._library.device.streams

    def set_device_memory(self, memory: int, size: int) -> None:
        smallest_size = self._library.needs * self._library.profiles[self._profile][1]
        assert size >= smallest_size
        self._library.workspaces.append((memory, size))
        self._workspace = memory

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "image"
        smallest, largest = self._library.profiles[self._profile]
        self._shape = shape
        is_inside = smallest <= shape[0] <= largest and shape[1:] == (1, 512, 512)
        if not is_inside:
            self._library.log("the shape is outside of the profile")
        return is_inside

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in {"image"} | self._outputs

    def set_input_consumed_event(self, event: int) -> bool:
        self._consumed = event
        return event in self._library.device.events

    def execute_async_v3(self, stream: int) -> bool:
        library, addresses, batch = self._library, dict(self._addresses), self._shape[0]
        library.device.bytes_at(self._workspace, 1)  # which must be allocated
        if library.fails or addresses.keys() != {"image"} | self._outputs:
            library.log("Cask convolution execution")
            return False
        library.begun.append(batch)
        library.waited += [] if batch in library.compiled else [batch]
        library.compiled.add(batch)
        queue, read = library.device.streams[stream], list[NDArray[np.float16]]()
        queue.enqueue(lambda: read.append(self._read(batch, addresses["image"])))
        queue.record(library.device.events[self._consumed])
        queue.enqueue(lambda: self._score(batch, addresses, read.pop()))
        return True

    def _read(self, batch: int, address: int) -> NDArray[np.float16]:
        return self._library.device.bytes_at(address, 2 * batch * 512 * 512).view(np.float16).copy()

    def _score(self, batch: int, addresses: dict[str, int], halves: NDArray[np.float16]) -> None:
        self._library.done.append(batch)
        device = self._library.device
        means = halves.reshape(batch, -1).astype(np.float32).mean(axis=1)
        scores = np.stack([1 - means, means], axis=1)
        device.bytes_at(addresses["probabilities"], 8 * batch)[:] = scores.reshape(-1).view(np.uint8)
        if "cam" in self._outputs:
            cells = halves.reshape(batch, 512, 512)[:, ::16, ::16].astype(np.float32) - np.float32(0.5)
            device.bytes_at(addresses["cam"], cells.nbytes)[:] = cells.reshape(-1).view(np.uint8)


class FakeLibrary(ModuleType):
    """The module; memory suffices for ``contexts`` contexts, each of which takes ``needs`` bytes for each image."""

    def __init__(
        self,
        device: FakeDevice,
        profiles: list[tuple[int, int]],
        contexts: int = 9,
        needs: int = 0,
        name: str = "tensorrt_rtx",
    ) -> None:
        super().__init__(name)
        self.__version__ = VERSION
        self.device, self.profiles, self.contexts, self.needs = device, profiles, contexts, needs
        self.begun: list[int] = []
        self.done: list[int] = []
        self.fails = False
        self.workspaces: list[tuple[int, int]] = []
        """Address and size of the memory of each context."""
        self.compiled: set[int] = set()
        self.waited: list[int] = []
        """Batch sizes with kernels of this process or an earlier one, and those that waited for their kernels."""
        self.DynamicShapesKernelSpecializationStrategy = DynamicShapesKernelSpecializationStrategy
        self.ILogger = Logger
        self.ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
        self.Runtime = self._runtime
        self.log: Callable[[str], None] = lambda _: None

    def _runtime(self, logger: "Logger") -> Runtime:
        self.log = partial(logger.log, Logger.ERROR)
        return Runtime(self)


class DynamicShapesKernelSpecializationStrategy:
    EAGER = "eager"


class ExecutionContextAllocationStrategy:
    USER_MANAGED = "user managed"


class Logger:
    """An ``ILogger``, to be derived from."""

    ERROR = 1

    def log(self, severity: int, message: str) -> None:
        raise NotImplementedError
