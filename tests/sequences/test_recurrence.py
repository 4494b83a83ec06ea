"""The loop over an image: against a loop in Python, for each sequence alone, and its samples."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core.random import stateless_seed
from figr_tf.sequences import models, recurrence
from figr_tf.sequences.system import Reader
from tests.sequences.conftest import SETTINGS, SIZE, SPEC, random_images, random_weights

RATE = SETTINGS.inner_learning_rate


@pytest.fixture(scope="module")
def readers():
    """By network."""
    specs = {name: dataclasses.replace(SPEC, network=name) for name in models.NETWORKS}
    return {n: Reader(dataclasses.replace(SETTINGS, network=s)) for n, s in specs.items()}


def _weights(name, seed=0):
    return random_weights(dataclasses.replace(SPEC, network=name), seed)


def test_a_pixel_costs_what_it_was_given_before_it_was_seen_and_then_moves_the_weights(readers):
    images, weights = random_images(2), _weights("gated")
    read = readers["gated"].read(weights, images)
    for sequence in range(2):
        own = {n: tf.Variable(w[None]) for n, w in weights.items()}
        for k in range(SIZE**2):
            with tf.GradientTape() as tape:
                chance = tf.sigmoid(models.logit(SPEC, own, tf.constant(k)))[0]
                ink = images[sequence, k]
                cost = -tf.math.log(chance if ink else 1 - chance)
            np.testing.assert_allclose(read.nats[sequence, k], cost, rtol=2e-3, atol=1e-4)
            slopes = tape.gradient(cost, list(own.values()))
            for variable, slope in zip(own.values(), slopes, strict=True):
                variable.assign_sub(RATE * tf.convert_to_tensor(slope))
        for name, variable in own.items():
            np.testing.assert_allclose(read.weights[name][sequence], variable[0], atol=1e-3)
    np.testing.assert_array_equal(read.pixels, images)


@pytest.mark.parametrize("name", models.NETWORKS)
def test_what_comes_later_changes_no_earlier_cost_and_sequences_know_nothing_of_each_other(
    readers, name
):
    images, weights = random_images(3), _weights(name)
    nats = readers[name].read(weights, images).nats.numpy()
    k = 7
    changed = images.copy()
    changed[0, k] = 1 - changed[0, k]
    after = readers[name].read(weights, changed).nats.numpy()
    np.testing.assert_array_equal(after[0, :k], nats[0, :k])
    assert after[0, k] != nats[0, k]
    assert np.abs(after[0, k + 1 :] - nats[0, k + 1 :]).max() > 1e-4
    np.testing.assert_array_equal(after[1:], nats[1:])


@pytest.mark.parametrize("name", models.NETWORKS)
def test_the_score_of_a_sample_is_the_product_of_what_it_was_drawn_with(readers, name):
    weights = _weights(name)
    drawn = readers[name].draw(weights, 4, stateless_seed(2))
    assert set(np.unique(drawn.pixels)) == {0, 1}
    assert len({image.numpy().tobytes() for image in drawn.pixels}) == 4
    read = readers[name].read(weights, drawn.pixels)
    np.testing.assert_allclose(read.nats, drawn.nats, rtol=1e-4, atol=1e-5)
    again = readers[name].draw(weights, 4, stateless_seed(2))
    np.testing.assert_array_equal(again.pixels, drawn.pixels)


def test_the_probabilities_of_all_images_of_2_by_2_pixels_add_up_to_1():
    for name in models.NETWORKS:
        spec = models.NetworkSpec(name, 2, width=4, num_blocks=1)
        every = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.float32)
        nats = recurrence.run(spec, random_weights(spec), 0.5, tf.constant(every)).nats
        total = np.exp(-nats.numpy().astype(np.float64).sum(1)).sum()
        assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"network": "gru"}, "gated, mlp, recurrent.*gru"),
        ({"width": 7}, "even.*7"),
        ({"num_blocks": 0}, "num_blocks must be 1 or more"),
    ],
)
def test_networks_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SPEC, **wrong)
