from dataclasses import replace

import pytest

from bsbatch.bench.ceiling import Ceiling, macs_of, peak_of, peak_of_gpus
from bsbatch.bench.environment import Processor
from bsbatch.cuda.gpu import Gpu
from bsbatch.models.directory import GRAPH, Manifest
from bsbatch_build.network.network import BLOCKS, CHANNELS, CLASSES, DENSE, SIDE

AVX2 = Processor("Test", frozenset({"avx2", "fma"}), 2, 3e9)


def vgg16() -> tuple[int, float]:
    """Weights and multiply-accumulates of the paper's network, layer by layer."""
    weights, macs, side, inputs = 0, 0.0, SIDE, CHANNELS
    for convolutions, outputs in BLOCKS:
        for _ in range(convolutions):
            weights += 9 * inputs * outputs + outputs
            macs += 9 * inputs * outputs * side**2
            inputs = outputs
        side //= 2
    for outputs in (DENSE, CLASSES):
        weights += inputs * outputs + outputs
        macs += inputs * outputs
        inputs = outputs
    return weights, macs


def manifest(weights: int | None) -> Manifest:
    return Manifest({GRAPH: ""}, 1, "test", training={"weights_count": weights} if weights is not None else {})


def test_the_work_of_the_papers_network_is_known() -> None:
    weights, macs = vgg16()

    assert macs_of(manifest(weights)) == pytest.approx(macs, rel=1e-3)


@pytest.mark.parametrize("weights", [None, 58_950])
def test_the_work_of_another_network_is_not_known(weights: int | None) -> None:
    assert macs_of(manifest(weights)) is None
    assert macs_of(None) is None


def test_the_peak_of_two_cores_with_avx2() -> None:
    assert peak_of(AVX2, cpus=2) == 2 * 3e9 * 2 * 8 * 2


@pytest.mark.parametrize(("cpus", "cores"), [(1, 1), (4, 2)])
def test_two_threads_of_a_core_share_its_units(cpus: int, cores: int) -> None:
    assert peak_of(AVX2, cpus) == cores * 3e9 * 32


@pytest.mark.parametrize(
    "unknown",
    [
        replace(AVX2, max_hertz=None),
        replace(AVX2, cores=None),
        replace(AVX2, flags=frozenset({"avx"})),
        replace(AVX2, flags=AVX2.flags | {"avx512f"}),
    ],
)
def test_a_peak_that_cannot_be_read_is_not_guessed(unknown: Processor) -> None:
    assert peak_of(unknown, cpus=2) is None


def test_the_peak_of_gpus_is_their_sum_where_all_of_them_are_known() -> None:
    known, unknown = Gpu("NVIDIA L4", "sm_89", 121e12), Gpu("NVIDIA GB10", "sm_121")
    assert peak_of_gpus([known, known]) == 242e12
    assert peak_of_gpus([known, unknown]) is None
    assert peak_of_gpus([]) is None


def test_a_rate_is_compared_with_the_peak() -> None:
    ceiling = Ceiling(macs=80e9, peak_flops=192e9)

    assert ceiling.flops(0.6) == pytest.approx(96e9)
    assert ceiling.share(0.6) == pytest.approx(0.5)


@pytest.mark.parametrize("ceiling", [Ceiling(None, 192e9), Ceiling(80e9, None)])
def test_with_one_side_unknown_there_is_no_share(ceiling: Ceiling) -> None:
    assert ceiling.share(0.6) is None
