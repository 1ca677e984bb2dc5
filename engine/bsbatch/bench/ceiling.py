"""The share of the machine's arithmetic peak that a throughput reaches.

Operations are counted as for direct convolution. A backend with Winograd convolutions (Lavin and Gray, CVPR 2016)
needs fewer and may exceed 100 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bsbatch.bench.environment import Processor
from bsbatch.cuda.gpu import Gpu
from bsbatch.models.directory import Manifest

_VGG16_WEIGHTS = 14_978_370
_VGG16_MACS = 80.2e9
"""Multiply-accumulates of the paper's network for one 512 x 512 image of three channels, layer by layer."""
_FLOPS_PER_MAC = 2
_FMA_UNITS, _LANES = 2, 8
"""A core with AVX2 and FMA: two units of 256 bits (Intel since Haswell, AMD since Zen 2), eight float32 each."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Arithmetic of a model and of a machine."""

    macs: float | None
    """Multiply-accumulates for one examination; None if the network is unknown."""
    peak_flops: float | None
    """Peak operations per second of all usable cores or all GPUs; None if it cannot be read."""
    precision: str = "fp32"
    """Precision of those operations."""

    def flops(self, throughput: float) -> float | None:
        """Return operations per second at a throughput of examinations per second."""
        return _FLOPS_PER_MAC * self.macs * throughput if self.macs is not None else None

    def share(self, throughput: float) -> float | None:
        """Return the share of the peak, in [0, 1], that a throughput reaches; None if either side is unknown."""
        flops = self.flops(throughput)
        return flops / self.peak_flops if flops is not None and self.peak_flops is not None else None


def peak_of_gpus(gpus: Sequence[Gpu]) -> float | None:
    """Return the float16 peak of all GPUs, operations per second; None if one of them is unknown."""
    peaks = [gpu.peak_flops for gpu in gpus if gpu.peak_flops is not None]
    return sum(peaks) if peaks and len(peaks) == len(gpus) else None


def macs_of(manifest: Manifest | None) -> float | None:
    """Return multiply-accumulates for one examination of the paper's VGG16, recognised by its number of weights."""
    is_vgg16 = manifest is not None and manifest.training.get("weights_count") == _VGG16_WEIGHTS
    return _VGG16_MACS if is_vgg16 else None


def peak_of(processor: Processor, cpus: int) -> float | None:
    """Return the float32 peak of ``cpus`` processors: cores x highest frequency x FMA units x lanes x 2.

    None without AVX2 and FMA, and if frequency or number of cores cannot be read. None with AVX-512, too: the system
    does not report if a core has one unit of 512 bits or two.
    """
    has_avx2 = {"avx2", "fma"} <= processor.flags and "avx512f" not in processor.flags
    if not has_avx2 or processor.max_hertz is None or processor.cores is None:
        return None
    return min(cpus, processor.cores) * processor.max_hertz * _FMA_UNITS * _LANES * _FLOPS_PER_MAC
