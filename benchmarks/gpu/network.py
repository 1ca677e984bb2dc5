"""The paper's network in torch, on the memory and streams of bsbatch: stands in for an engine where TensorRT is not.

Convolutions are float16 and channels last, the head is float32, as in the graph of ``bsbatch-build compile``. Without a
GPU it computes in float32 on the host, for the driver of `make pycuda`, whose device memory is the host's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from ctypes import c_ubyte
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.cuda.device import Device, DeviceError, Event, Stream
from bsbatch.cuda.ring import CLASSES
from bsbatch.geometry import IMAGE_SHAPE, INPUT_SHAPE
from bsbatch.models.onnx.trunk import split

_DENSE = ("fc1", "predictions")
_MOMENTS = ("distance/offset", "distance/mean", "distance/whitening")
"""As `bsbatch_build.export.distance` names them."""


class _Span:
    """Memory of the device, as torch and CuPy read it: CUDA Array Interface, version 3."""

    def __init__(self, address: int, shape: tuple[int, ...], kind: str) -> None:
        self.__cuda_array_interface__ = {"data": (address, False), "shape": shape, "typestr": kind, "version": 3}


class TorchNetwork:
    """A `bsbatch.cuda.ring.Network`; made, used and closed in the thread that has entered the device."""

    def __init__(self, device: Device, graph: Path, largest: int) -> None:
        """Load the weights, and let cuDNN choose its kernels for the largest batch."""
        self._torch: Any = import_module("torch")
        self._has_cuda = self._torch.cuda.is_available()
        self._torch.backends.cudnn.benchmark = True
        self._device = device
        trunk = split(graph.read_bytes(), *IMAGE_SHAPE).trunk
        self._layers = [(self._half(layer.kernels), self._half(layer.bias), layer.is_pooled) for layer in trunk]
        tensors = _tensors_of(graph)
        self._dense = [(self._put(tensors[f"{name}/kernel"]), self._put(tensors[f"{name}/bias"])) for name in _DENSE]
        self._moments = [self._put(tensors[name]) for name in _MOMENTS if name in tensors]
        if self._has_cuda:
            self._warm_up(largest)

    def enqueue(self, batch: int, image: int, outputs: Sequence[int], stream: Stream, consumed: Event) -> None:
        """See `bsbatch.cuda.ring.Network`."""
        torch = self._torch
        if not self._has_cuda:
            self._wait_for(stream)
        target = torch.cuda.ExternalStream(stream.handle) if self._has_cuda else None
        try:
            with torch.inference_mode(), torch.cuda.stream(target) if target is not None else nullcontext():
                images = self._tensor(image, (batch, *INPUT_SHAPE), "<f2")
                scores, distances = self._score(images, lambda: stream.record(consumed))
                self._tensor(outputs[0], (batch, CLASSES), "<f4").copy_(scores)
                for address in outputs[1:]:  # that of the distances, if the model has any
                    self._tensor(address, (batch,), "<f4").copy_(distances)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise MemoryError(str(error)) from error
        except DeviceError:
            raise
        except RuntimeError as error:  # torch's error of a driver that failed, now or in an earlier batch
            raise DeviceError(str(error).partition("\n")[0]) from error

    def close(self) -> None:
        """Free the weights, and the memory that torch keeps."""
        self._layers.clear()
        self._dense.clear()
        self._moments.clear()
        if self._has_cuda:
            with suppress(RuntimeError):  # of a device that failed before
                self._torch.cuda.empty_cache()

    def _score(self, images: Any, on_consumed: Callable[[], object]) -> Any:
        layers = self._torch.nn.functional
        features = images.view(-1, *IMAGE_SHAPE, 1).permute(
            0, 3, 1, 2
        )  # one channel; these strides say that it is last
        if not self._has_cuda:
            features = features.float()
        for number, (kernels, bias, is_pooled) in enumerate(self._layers):
            features = layers.relu_(layers.conv2d(features, kernels, bias, padding=1))
            if number == 0:
                on_consumed()
            if is_pooled:
                features = layers.max_pool2d(features, 2)
        (first, second), means = self._dense, layers.max_pool2d(features, 2).float().mean((2, 3))
        hidden = self._torch.relu(means @ first[0] + first[1])
        return self._torch.softmax(hidden @ second[0] + second[1], 1), self._measure_distances(means)

    def _measure_distances(self, means: Any) -> Any:
        if not self._moments:
            return None
        offset, mean, whitening = self._moments
        return (((self._torch.log(means + offset) - mean) @ whitening) ** 2).sum(1)

    def _warm_up(self, largest: int) -> None:
        images = self._put(np.random.default_rng(0).random((largest, *INPUT_SHAPE), np.float32)).half()
        with self._torch.inference_mode():
            self._score(images, lambda: None)
        self._torch.cuda.synchronize()
        self._torch.cuda.empty_cache()

    def _wait_for(self, stream: Stream) -> None:
        done = self._device.event()
        stream.record(done)
        done.wait()
        done.free()

    def _tensor(self, address: int, shape: tuple[int, ...], kind: str) -> Any:
        torch = self._torch
        if self._has_cuda:
            return torch.as_tensor(_Span(address, shape, kind), device="cuda")
        content = (c_ubyte * (prod(shape) * np.dtype(kind).itemsize)).from_address(address)
        return torch.frombuffer(content, dtype=torch.float16 if kind == "<f2" else torch.float32).view(shape)

    def _half(self, weights: NDArray[np.float32]) -> Any:
        tensor = self._put(weights)
        if tensor.dim() > 1:
            tensor = tensor.contiguous(memory_format=self._torch.channels_last)
        return tensor.half() if self._has_cuda else tensor

    def _put(self, array: NDArray[np.float32]) -> Any:
        return self._torch.tensor(array, device="cuda" if self._has_cuda else "cpu")


@contextmanager
def load_torch_network(device: Device, graph: Path, largest: int) -> Iterator[TorchNetwork]:
    """Load the network on the device that this thread has entered."""
    network = TorchNetwork(device, graph, largest)
    try:
        yield network
    finally:
        network.close()


def _tensors_of(graph: Path) -> dict[str, NDArray[np.float32]]:
    """Weights of a graph in float32, as `bsbatch_build.export` names them."""
    onnx: Any = import_module("onnx")
    tensors = onnx.load(graph).graph.initializer
    return {tensor.name: np.array(onnx.numpy_helper.to_array(tensor), np.float32) for tensor in tensors}
