"""How much of the machine's arithmetic a rate uses, where both sides are known.

Work is counted as for direct convolution, so a backend with Winograd convolutions (Lavin and Gray, CVPR 2016) does less
of it and may come out above 100 %.
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
"""Of a core with AVX2 and FMA: two units of 256 bits (Intel since Haswell, AMD since Zen 2), eight float32 each."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the arithmetic of a model and of a machine allow."""

    macs: float | None
    """Multiply-accumulates for one examination; None for a network that is not known."""
    peak_flops: float | None
    """Operations in a second, all usable cores or all GPUs; None where it cannot be read."""
    precision: str = "fp32"
    """Of those operations."""

    def flops(self, throughput: float) -> float | None:
        """Operations in a second at so many examinations in a second."""
        return _FLOPS_PER_MAC * self.macs * throughput if self.macs is not None else None

    def share(self, throughput: float) -> float | None:
        """Part of the peak that a rate uses; None where either side is unknown."""
        flops = self.flops(throughput)
        return flops / self.peak_flops if flops is not None and self.peak_flops is not None else None


def peak_of_gpus(gpus: Sequence[Gpu]) -> float | None:
    """float16 peak of all GPUs; None where one of them is not known."""
    peaks = [gpu.peak_flops for gpu in gpus if gpu.peak_flops is not None]
    return sum(peaks) if peaks and len(peaks) == len(gpus) else None


def macs_of(manifest: Manifest | None) -> float | None:
    """Work for one examination; known for the paper's VGG16, told by its number of weights."""
    is_vgg16 = manifest is not None and manifest.training.get("weights_count") == _VGG16_WEIGHTS
    return _VGG16_MACS if is_vgg16 else None


def peak_of(processor: Processor, cpus: int) -> float | None:
    """float32 peak of ``cpus`` processors: cores x highest frequency x FMA units x lanes x 2.

    None without AVX2 and FMA, where frequency or number of cores cannot be read, and with AVX-512, where nothing
    tells whether a core has one unit of 512 bits or two.
    """
    has_avx2 = {"avx2", "fma"} <= processor.flags and "avx512f" not in processor.flags
    if not has_avx2 or processor.max_hertz is None or processor.cores is None:
        return None
    return min(cpus, processor.cores) * processor.max_hertz * _FMA_UNITS * _LANES * _FLOPS_PER_MAC
