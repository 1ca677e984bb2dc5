"""The GPU of this machine, and the backend ``tensorrt`` on it: with an engine, or with the network in torch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.gpu.network import load_torch_network
from benchmarks.gpu.step import NotHereError, Setup

from bsbatch.backends import tensorrt
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.backends.tensorrt import TensorRtBackend
from bsbatch.config import BackendName, Effort
from bsbatch.cuda.device import Device
from bsbatch.cuda.engines import PRECISION, Engine, EngineKey
from bsbatch.cuda.gpu import INSTALL, Gpu, driver_problem, gpu
from bsbatch.cuda.library import available_flavour
from bsbatch.cuda.network import load_network
from bsbatch.cuda.ring import Network
from bsbatch.errors import UsageError
from bsbatch.requirements import Requirement

Fault = Callable[[Device, Network], AbstractContextManager[Network]]
"""Puts another network into the place of one, or changes the device."""


def require_gpu() -> Gpu:
    """Return the first GPU.

    Raises
    ------
    NotHereError
        There is no driver, no pycuda or no GPU.
    """
    problem = driver_problem()  # first: pycuda, loaded lazily, would end the process
    if problem is not None:
        raise NotHereError(problem)
    try:
        return gpu()
    except UsageError as error:
        raise NotHereError(str(error)) from error


def no_fault(_: Device, network: Network) -> AbstractContextManager[Network]:
    """Leave a network as it is."""
    return nullcontext(network)


@contextmanager
def network_here(setup: Setup, fault: Fault = no_fault) -> Iterator[None]:
    """Give the backend ``tensorrt`` a network that this machine runs.

    Parameters
    ----------
    setup
        Model and sizes.
    fault
        Applied to the network after it is loaded.

    Raises
    ------
    NotHereError
        There is no GPU, or neither TensorRT nor torch.
    """
    require_gpu()
    has_engine = available_flavour() is not None
    if not has_engine and find_spec("torch") is None:
        raise NotHereError("neither TensorRT nor torch is installed")
    load: Any = load_network if has_engine else _torch_loader(setup)

    @contextmanager
    def load_with_fault(device: Device, *arguments: Any) -> Iterator[Network]:
        with load(device, *arguments) as network, fault(device, network) as changed:
            yield changed

    replacements: dict[str, Any] = {"load_network": load_with_fault}
    requirements = {}
    if not has_engine:
        engine = Engine(
            Path(), EngineKey("torch", "", "", PRECISION, "0" * 16, (setup.sizes.batch,), ("probabilities",))
        )
        replacements["_find_engine_for"] = lambda *_: (None, engine)
        requirements[BackendName.TENSORRT] = Requirement("pycuda", INSTALL)
    with patch.multiple(tensorrt, **replacements), patch.dict(REQUIREMENTS, requirements):
        yield


def _torch_loader(setup: Setup) -> Callable[..., AbstractContextManager[Network]]:
    graph, largest = setup.model.graph, setup.sizes.batch
    return lambda device, *_: load_torch_network(device, graph, largest)


@contextmanager
def open_backend(setup: Setup) -> Iterator[TensorRtBackend]:
    """Enter the backend, with the largest batch; raises as `network_here` does."""
    with network_here(setup), TensorRtBackend(setup.model, Effort(batch_size=setup.sizes.batch)) as backend:
        yield backend
