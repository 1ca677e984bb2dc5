"""Kernels that TensorRT-RTX compiles when an engine runs: before a batch is computed, and kept in the cache folder.

TensorRT compiles all kernels with the engine. By default TensorRT-RTX computes each new batch size with general kernels
until it has compiled better ones beside, and forgets them with the process: rates would be those of the general ones.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Protocol

from bsbatch.cuda.engines import EngineKey
from bsbatch.cuda.library import LIBRARIES, Flavour
from bsbatch.host.files import cache_folder, lock_folder, replace_file

logger = logging.getLogger(__name__)


class _Content(Protocol):
    """An ``IHostMemory``."""

    def __bytes__(self) -> bytes: ...


class _RuntimeCache(Protocol):
    """The methods of ``IRuntimeCache`` that are used here."""

    def deserialize(self, content: bytes) -> bool: ...

    def serialize(self) -> _Content: ...


class _RuntimeConfig(Protocol):
    """The members of ``IRuntimeConfig`` that are used here."""

    dynamic_shapes_kernel_specialization_strategy: object

    def set_execution_context_allocation_strategy(self, strategy: object) -> None: ...

    def create_runtime_cache(self) -> _RuntimeCache: ...

    def set_runtime_cache(self, cache: _RuntimeCache) -> bool: ...


class ConfigurablePlan(Protocol):
    """The method of ``ICudaEngine`` that is used here."""

    def create_runtime_config(self) -> _RuntimeConfig:
        """Create a configuration for contexts of this engine."""
        ...


@contextmanager
def open_settings(library: ModuleType, plan: ConfigurablePlan, key: EngineKey) -> Iterator[object]:
    """Yield the argument of ``ICudaEngine.create_execution_context``; save new kernels at the end.

    Contexts get their memory from us, for all of them share it; by default each allocates its own. With TensorRT-RTX a
    batch of a new size waits until its kernels are compiled.

    Parameters
    ----------
    library, plan, key
        The imported library, and the engine with its key.
    """
    strategy = library.ExecutionContextAllocationStrategy.USER_MANAGED
    if key.library != LIBRARIES[Flavour.RTX].module:
        yield strategy
        return
    config = plan.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    config.dynamic_shapes_kernel_specialization_strategy = library.DynamicShapesKernelSpecializationStrategy.EAGER
    cache, earlier = config.create_runtime_cache(), _read(key)
    if earlier and not cache.deserialize(earlier):
        logger.debug("the kernels of %s are compiled again: the earlier ones are of another version or GPU", key.name)
    config.set_runtime_cache(cache)
    yield config
    kernels = bytes(cache.serialize())
    if kernels != earlier:
        _save(key, kernels)


def _path_of(key: EngineKey) -> Path:
    """Path of the kernels of an engine; raises `OSError` if there is no home folder."""
    name = key.name.removesuffix(".engine").removeprefix("model.")
    return cache_folder() / "kernels" / f"{name}-{key.version}-{key.graph}"


def _read(key: EngineKey) -> bytes:
    try:
        return _path_of(key).read_bytes()
    except OSError:  # none yet, or no cache folder
        return b""


def _save(key: EngineKey, kernels: bytes) -> None:
    try:
        path = _path_of(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(path.parent), replace_file(path) as aside:
            aside.write_bytes(kernels)
    except OSError as error:  # the next process compiles them again
        logger.debug("kernels are not saved: %s", error)
