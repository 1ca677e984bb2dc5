"""Folding, widening, mirroring and joining keep what they promise of the output."""

from typing import Any

import numpy as np
import pytest

from bsbatch.errors import ModelError
from bsbatch_build.network.network import NORM, NetworkSettings, build, convolution_names
from bsbatch_build.network.surgery import fold, join, mirror, move_threshold, widen

NARROW = NetworkSettings(seed=3, width=0.0625)


def image(side: int = 512) -> Any:
    return np.random.default_rng(0).random((1, side, side, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def normalised() -> Any:
    """A network whose batch normalisation changes the output."""
    network, rng = build(NARROW, batch_norm=True, side=None), np.random.default_rng(1)
    for name in convolution_names():
        layer: Any = network.get_layer(name + NORM)
        many = layer.get_weights()[0].size
        layer.set_weights(
            [
                rng.uniform(0.5, 1.5, many),
                rng.normal(0, 0.1, many),
                rng.normal(0, 0.1, many),
                rng.uniform(0.5, 1.5, many),
            ]
        )
    return network


def test_folding_batch_normalisation_changes_no_probability(normalised: Any) -> None:
    folded = fold(normalised, NARROW)
    np.testing.assert_allclose(folded(image()), normalised(image(), training=False), atol=1e-6)
    assert folded.count_params() == build(NARROW).count_params()


def test_the_batch_normalisation_of_these_tests_changes_the_output(normalised: Any) -> None:
    plain = build(NARROW)
    for name in convolution_names():
        plain.get_layer(name).set_weights(normalised.get_layer(name).get_weights())
    assert np.max(np.abs(np.asarray(plain(image())) - np.asarray(normalised(image(), training=False)))) > 1e-3


@pytest.mark.parametrize("width", [0.0625, 0.125, 0.15])
def test_widening_changes_no_probability(width: float) -> None:
    narrow = build(NARROW)
    wide: Any = widen(narrow, NetworkSettings(seed=1, width=width))
    assert wide.get_layer("fc1").units == round(512 * width)
    np.testing.assert_allclose(wide(image()), narrow(image()), atol=1e-6)


def test_a_network_with_narrower_first_blocks_is_widened_to_one_width() -> None:
    narrow = build(NetworkSettings(seed=3, width=0.0625, early_width=0.03125))
    wide: Any = widen(narrow, NetworkSettings(seed=1, width=0.125))
    assert wide.get_layer("block1_conv1").filters == 8
    np.testing.assert_allclose(wide(image()), narrow(image()), atol=1e-6)


def test_copies_of_a_channel_are_read_with_unequal_weights() -> None:
    wide = widen(build(NARROW), NetworkSettings(seed=1, width=0.125))
    kernel = wide.get_layer("block1_conv2").get_weights()[0]
    first, second = kernel[:, :, :4, 0], kernel[:, :, 4:, 0]
    shares = first / (first + second)
    assert np.all((shares > 0.25) & (shares < 0.75))
    assert len({round(float(share), 4) for share in shares[0, 0]}) == 4


def test_a_wider_network_cannot_be_narrowed() -> None:
    with pytest.raises(ModelError, match="larger --width"):
        widen(build(NARROW), NetworkSettings(width=0.03125))


def test_another_network_is_not_widened(normalised: Any) -> None:
    other = build(NARROW)
    other.get_layer("fc1").name = "dense"
    with pytest.raises(ModelError, match="no layer fc1"):
        widen(other, NetworkSettings(width=0.125))


def test_moving_the_threshold_to_one_half_keeps_the_order_of_scores() -> None:
    network: Any = build(NARROW)
    images = np.concatenate([image(), np.zeros((1, 512, 512, 3), np.float32)])
    before = network.predict_on_batch(images)[:, 1]
    move_threshold(network, float(before[0]))
    after = network.predict_on_batch(images)[:, 1]
    assert after[0] == pytest.approx(0.5, abs=1e-6)
    odds = before / (1.0 - before)
    np.testing.assert_allclose(after / (1.0 - after), odds / odds[0], rtol=1e-4)


def test_a_mirrored_network_gives_the_output_for_the_mirror_image() -> None:
    network = build(NARROW)
    np.testing.assert_allclose(mirror(network, NARROW)(image()), network(image()[:, :, ::-1]), atol=1e-6)
    assert np.max(np.abs(np.asarray(network(image()[:, :, ::-1])) - np.asarray(network(image())))) > 1e-4


@pytest.mark.parametrize("width", [0.1875, 0.25])
def test_joined_networks_give_the_mean_of_their_logits(width: float) -> None:
    members = [build(NetworkSettings(seed=seed, width=0.0625)) for seed in (3, 4, 5)]
    joined = join(members, NetworkSettings(seed=1, width=width))
    logits = np.mean([np.log(np.asarray(member(image()), np.float64)) for member in members], axis=0)
    shares = np.exp(logits)
    np.testing.assert_allclose(joined(image()), shares / shares.sum(), atol=1e-6)


def test_joined_networks_share_no_channel() -> None:
    members = [build(NetworkSettings(seed=seed, width=0.0625)) for seed in (3, 4)]
    kernel = join(members, NetworkSettings(width=0.125)).get_layer("block3_conv2").get_weights()[0]
    assert not kernel[:, :, :16, 16:].any()
    assert not kernel[:, :, 16:, :16].any()
    assert kernel[:, :, :16, :16].all()
