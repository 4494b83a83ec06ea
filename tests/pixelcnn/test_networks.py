"""The density: causal by its gradients, a probability by its sum, and what a condition adds."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.pixelcnn import blocks, networks
from tests.pixelcnn.conftest import SPEC, random_drawings, random_weights

GRID = SPEC.grid


def _logits(spec, weights, images, support):
    return networks.logits(spec, weights, images, networks.encode(spec, weights, support))


@pytest.mark.parametrize("condition", networks.CONDITIONS)
def test_a_block_depends_on_the_blocks_before_it_and_on_no_other(condition):
    spec = dataclasses.replace(SPEC, condition=condition)
    weights, images = random_weights(spec), tf.constant(random_drawings(1))
    with tf.GradientTape() as tape:
        tape.watch(images)
        answers = _logits(spec, weights, images, random_drawings(2, seed=1))
        mixed = tf.reduce_sum(answers * np.linspace(1, 3, 16, dtype=np.float32), -1)
    slopes = tape.jacobian(mixed, images).numpy()[0, :, :, 0].reshape(GRID**2, GRID, 2, GRID, 2)
    depends = np.abs(slopes).max((2, 4)).reshape(GRID**2, GRID**2) > 0
    assert not np.triu(depends).any()
    # No blind spot but one: with these few layers, all earlier blocks that are near are seen.
    near = [
        (now, before)
        for now, before in itertools.product(range(GRID**2), repeat=2)
        if before < now and now // GRID - before // GRID <= 2
    ]
    assert all(depends[pair] for pair in near)


def test_the_probabilities_of_all_drawings_of_4_by_4_pixels_add_up_to_1():
    spec = networks.NetworkSpec(4, planes=4, num_layers=1, condition="attention")
    weights = random_weights(spec)
    numbers = np.arange(2**16)[:, None] >> np.arange(16)
    every = (numbers & 1).reshape(-1, 4, 4).astype(np.float32)
    context = networks.encode(spec, weights, random_drawings(2, 4))
    nats = networks.nats(spec, weights, every, context).numpy().astype(np.float64) * 16
    assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-4)
    assert nats.std() > 0.1


def test_the_nats_of_a_blank_network_are_those_of_a_coin_for_each_pixel():
    zero = {name: np.zeros(shape, np.float32) for name, shape in SPEC.shapes().items()}
    nats = networks.nats(SPEC, zero, random_drawings(2), networks.Context())
    np.testing.assert_allclose(nats, np.log(2), rtol=1e-6)


def test_the_pattern_of_a_block_counts_its_pixels_as_binary_places():
    image = np.zeros([1, 4, 4], np.float32)
    image[0, 0, 1] = image[0, 1, 0] = 1  # The places of 2 and 4 in the first block.
    image[0, 3, 3] = 1
    np.testing.assert_array_equal(blocks.patterns(image), [[[6, 0], [0, 8]]])
    drawings = random_drawings(3)
    np.testing.assert_array_equal(blocks.images_of(blocks.patterns(drawings)), drawings)


@pytest.mark.parametrize("condition", ["features", "attention"])
def test_a_conditional_network_begins_as_the_plain_one_and_its_support_has_an_influence(condition):
    spec = dataclasses.replace(SPEC, condition=condition)
    images, supports = random_drawings(2), (random_drawings(3, seed=s) for s in (1, 2))
    one, two = supports
    plain = networks.initial_weights(SPEC, seed=3)
    initial = networks.initial_weights(spec, seed=3)
    expected = networks.logits(SPEC, plain, images, networks.Context())
    np.testing.assert_allclose(_logits(spec, initial, images, one), expected, atol=1e-6)
    weights = random_weights(spec)
    first, other = (_logits(spec, weights, images, support) for support in (one, two))
    assert np.abs(first - other).max() > 1e-2
    # Neither the order of the support nor how often all of it is given makes a difference.
    turned = _logits(spec, weights, images, np.concatenate([one[::-1], one]))
    np.testing.assert_allclose(turned, first, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image_size": 7}, "multiple of 2.*7"),
        ({"planes": 6}, "multiple of 4.*6"),
        ({"num_layers": 0}, "1 or more.*0"),
        ({"condition": "all"}, "none, features, attention.*all"),
    ],
)
def test_networks_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SPEC, **wrong)
