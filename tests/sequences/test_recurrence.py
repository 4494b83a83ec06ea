"""The loop over a sequence: against a loop in Python, for each sequence alone, and its samples."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core.random import stateless_seed
from figr_tf.sequences import networks, recurrence, targets
from figr_tf.sequences.system import Reader
from tests.sequences.conftest import (
    SETTINGS,
    SIZE,
    SPEC,
    TEXT_SETTINGS,
    TEXT_SPEC,
    random_images,
    random_sequences,
    random_weights,
)

RATE = SETTINGS.inner_learning_rate


@pytest.fixture(scope="module")
def readers():
    """By network."""
    specs = {name: dataclasses.replace(SPEC, network=name) for name in networks.NETWORKS}
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
                chance = tf.sigmoid(networks.logits(SPEC, own, tf.constant(k)))[0, 0]
                ink = images[sequence, k]
                cost = -tf.math.log(chance if ink else 1 - chance)
            np.testing.assert_allclose(read.nats[sequence, k], cost, rtol=2e-3, atol=1e-4)
            slopes = tape.gradient(cost, list(own.values()))
            for variable, slope in zip(own.values(), slopes, strict=True):
                variable.assign_sub(RATE * tf.convert_to_tensor(slope))
        for name, variable in own.items():
            np.testing.assert_allclose(read.weights[name][sequence], variable[0], atol=1e-3)
    np.testing.assert_array_equal(read.targets, images)


@pytest.mark.parametrize("name", networks.NETWORKS)
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


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_the_score_of_a_sample_is_the_product_of_what_it_was_drawn_with(readers, name):
    weights = _weights(name)
    drawn = readers[name].draw(weights, 4, stateless_seed(2))
    assert set(np.unique(drawn.targets)) == {0, 1}
    assert len({image.numpy().tobytes() for image in drawn.targets}) == 4
    read = readers[name].read(weights, drawn.targets)
    np.testing.assert_allclose(read.nats, drawn.nats, rtol=1e-4, atol=1e-5)
    again = readers[name].draw(weights, 4, stateless_seed(2))
    np.testing.assert_array_equal(again.targets, drawn.targets)


def test_the_probabilities_of_all_images_of_2_by_2_pixels_add_up_to_1():
    for name in networks.NETWORKS:
        spec = networks.NetworkSpec(name, 2, width=4, num_blocks=1)
        every = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.float32)
        assert _total_probability(spec, every) == pytest.approx(1, abs=1e-5)


def test_the_probabilities_of_all_texts_of_3_characters_add_up_to_1():
    for name in networks.NETWORKS:
        spec = networks.NetworkSpec(name, 0, width=4, num_blocks=1, text_length=3, num_classes=4)
        every = (np.arange(64)[:, None] // 4 ** np.arange(3) % 4).astype(np.float32)
        assert _total_probability(spec, every) == pytest.approx(1, abs=1e-5)


def _total_probability(spec, every):
    nats = recurrence.run(spec, random_weights(spec), 0.5, tf.constant(every)).nats
    return np.exp(-nats.numpy().astype(np.float64).sum(1)).sum()


def _softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def test_a_character_costs_what_it_was_given_and_the_bias_moves_by_what_was_wrong():
    """The bias of the last layer has a gradient that is known: probabilities less the truth."""
    text, weights = random_sequences(TEXT_SPEC, 2), random_weights(TEXT_SPEC)
    spec = dataclasses.replace(TEXT_SPEC, text_length=1)
    first = {**weights, "place": weights["place"][:1]}
    read = recurrence.run(spec, first, RATE, tf.constant(text[:, :1]))
    own = {name: tf.constant(w[None]) for name, w in first.items()}
    chances = _softmax(networks.logits(spec, own, tf.constant(0))[0].numpy())
    for sequence in range(2):
        seen = int(text[sequence, 0])
        np.testing.assert_allclose(read.nats[sequence, 0], -np.log(chances[seen]), rtol=1e-4)
        moved = weights["last/bias"] - RATE * (chances - np.eye(5)[seen])
        np.testing.assert_allclose(read.weights["last/bias"][sequence], moved, atol=1e-6)


@pytest.fixture(scope="module")
def text_readers():
    """Of a network that takes steps, and of the baseline."""
    specs = {n: dataclasses.replace(TEXT_SPEC, network=n) for n in ("gated", "recurrent")}
    return {n: Reader(dataclasses.replace(TEXT_SETTINGS, network=s)) for n, s in specs.items()}


@pytest.mark.parametrize("name", ["gated", "recurrent"])
def test_of_a_text_too_no_cost_depends_on_what_comes_later_and_samples_cost_what_they_should(
    text_readers, name
):
    weights = random_weights(dataclasses.replace(TEXT_SPEC, network=name))
    reader = text_readers[name]
    drawn = reader.draw(weights, 40, stateless_seed(2))
    assert set(np.unique(drawn.targets)) == set(range(5))
    text = drawn.targets.numpy()
    nats = reader.read(weights, text).nats.numpy()
    np.testing.assert_allclose(nats, drawn.nats, rtol=1e-3, atol=1e-4)
    text[0, 4] = (text[0, 4] + 1) % 5
    after = reader.read(weights, text).nats.numpy()
    np.testing.assert_array_equal(after[0, :4], nats[0, :4])
    assert np.abs(after[0, 5:] - nats[0, 5:]).max() > 1e-4
    np.testing.assert_array_equal(after[1:], nats[1:])


def test_a_class_is_drawn_where_the_sum_of_probabilities_passes_the_number():
    logits = tf.math.log([[0.2, 0.5, 0.3]])
    uniform = tf.constant([0.0, 0.19, 0.21, 0.69, 0.71, 1 - 2**-24])
    classes = targets.drawn(tf.repeat(logits, 6, 0), uniform)
    np.testing.assert_array_equal(classes, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"network": "gru"}, "gated, mlp, recurrent.*gru"),
        ({"width": 7}, "even.*7"),
        ({"num_blocks": 0}, "num_blocks must be 1 or more"),
        ({"num_classes": 1}, "num_classes must be 2 or more"),
        ({"text_length": 9}, "one of image_size and text_length"),
        ({"image_size": 0}, "one of image_size and text_length"),
    ],
)
def test_networks_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SPEC, **wrong)
