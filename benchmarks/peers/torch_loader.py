"""torch: a ``DataLoader`` with one reading process and a torch model, channels last if that is faster."""

import time
from pathlib import Path

import numpy as np
import torch
from benchmarks.peers.job import BATCH, WEIGHTS, Job, warm_up_images
from benchmarks.peers.reading import read
from numpy.typing import NDArray
from torch.utils.data import DataLoader

_BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions of each block of VGG16."""
_READERS = 1


class Scans:
    """A map-style data set of files."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[str, NDArray[np.float32]]:
        """Read a SOP Instance UID and its ``(1, 512, 512)`` image."""
        scan = read(self._files[index])
        return scan.sop_uid, scan.image[np.newaxis]


def build_network(weights: list[NDArray[np.float32]]) -> torch.nn.Module:
    """Build the VGG16 from kernels and biases in Keras' order and layout; one channel, as in the engine's graph."""
    tensors = iter(torch.from_numpy(weight) for weight in weights)
    layers: list[torch.nn.Module] = []
    for convolutions in _BLOCKS:
        for _ in range(convolutions):
            layers += [_convolution(next(tensors), next(tensors)), torch.nn.ReLU(inplace=True)]
        layers.append(torch.nn.MaxPool2d(2))
    head = [_dense(next(tensors), next(tensors)), torch.nn.ReLU(inplace=True), _dense(next(tensors), next(tensors))]
    return torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), *head, torch.nn.Softmax(dim=1)
    ).eval()


def _convolution(kernel: torch.Tensor, bias: torch.Tensor) -> torch.nn.Conv2d:
    rows, columns, inputs, outputs = kernel.shape
    layer = torch.nn.Conv2d(inputs, outputs, (rows, columns), padding=1)
    layer.weight.data, layer.bias.data = kernel.permute(3, 2, 0, 1).contiguous(), bias
    return layer


def _dense(kernel: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    layer = torch.nn.Linear(*kernel.shape)
    layer.weight.data, layer.bias.data = kernel.T.contiguous(), bias
    return layer


def _faster_layout(model: torch.nn.Module) -> torch.memory_format:
    batch = torch.from_numpy(warm_up_images())
    layouts = (torch.contiguous_format, torch.channels_last)
    return min(layouts, key=lambda layout: _seconds_in(layout, model, batch))


def _seconds_in(layout: torch.memory_format, model: torch.nn.Module, batch: torch.Tensor) -> float:
    model.to(memory_format=layout)
    placed = batch.to(memory_format=layout)
    model(placed)
    started = time.perf_counter()
    model(placed)
    return time.perf_counter() - started


def main() -> None:
    """Score the archive."""
    job = Job.from_arguments()
    torch.set_grad_enabled(False)
    torch.set_num_threads(job.threads)
    with np.load(job.kit / WEIGHTS) as stored:
        model = build_network([stored[name] for name in sorted(stored.files)])
    layout = _faster_layout(model)
    model.to(memory_format=layout)
    with job.stopwatch(layout=str(layout).removeprefix("torch.")):
        scores: dict[str, float] = {}
        for sop_uids, images in DataLoader(Scans(job.files), BATCH, num_workers=_READERS):
            probabilities = model(images.to(memory_format=layout))
            scores |= dict(zip(sop_uids, probabilities[:, 1].tolist(), strict=True))
        job.write(scores)


if __name__ == "__main__":
    main()
