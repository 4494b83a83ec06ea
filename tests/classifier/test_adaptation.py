"""The inner loop: Adam with β1 = 0 against NumPy, SGD, weight decay, minibatches."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.classifier import episodes, networks
from figr_tf.classifier.adaptation import InnerLoop, State
from figr_tf.core.random import stateless_seed
from tests.classifier.conftest import SETTINGS

LEARNER = SETTINGS.learner()
BATCH = 6


@pytest.fixture(scope="module")
def task():
    images = np.random.default_rng(0).random([BATCH, 14, 14, 1]).astype(np.float32)
    return tf.constant(images), tf.constant([0, 0, 1, 1, 2, 2])


@pytest.fixture(scope="module")
def weights():
    return networks.pack(networks.initial_layers(SETTINGS.network, seed=0))


def _gradient(weights, images, labels):
    """Of the sum of the losses."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits = LEARNER.logits(weights, images)
        chosen = tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=1)
        loss = -tf.reduce_sum(chosen)
    return tape.gradient(loss, weights).numpy()


def _learner(**changes):
    return LEARNER._replace(inner=dataclasses.replace(LEARNER.inner, **changes))


def test_adam_without_first_moments_is_its_numpy_twin_and_its_moments_go_on(weights, task):
    rng = np.random.default_rng(1)
    moments = rng.uniform(0, 1e-2, weights.shape).astype(np.float32)
    state = State(weights, (tf.constant(moments), tf.constant(7.0)), tf.constant(0.0))
    twin, v = weights.numpy().astype(np.float64), moments.astype(np.float64)
    for count in (8, 9):
        gradient = _gradient(state.weights, *task)
        v = 0.999 * v + 0.001 * gradient**2
        twin = twin - 1e-3 * np.sqrt(1 - 0.999**count) * gradient / (np.sqrt(v) + 1e-8)
        state = LEARNER.inner_step(state, *task)
        np.testing.assert_allclose(state.weights, twin, atol=2e-6)
        np.testing.assert_allclose(state.carried[0], v, rtol=1e-3, atol=1e-7)
        assert state.carried[1] == count


def test_sgd_descends_the_sum_of_the_losses_and_carries_nothing(weights, task):
    stepped = _learner(optimizer="sgd", learning_rate=0.01).inner_step(
        State(weights, (), tf.constant(0.0)),
        *task,
    )
    np.testing.assert_allclose(
        stepped.weights,
        weights - 0.01 * _gradient(weights, *task),
        atol=1e-6,
    )
    assert stepped.carried == ()


def test_weight_decay_shrinks_all_weights_before_the_step(weights, task):
    learner = _learner(optimizer="sgd", learning_rate=0.01, weight_decay=0.5)
    decayed = learner.inner_step(State(weights, (), tf.constant(0.0)), *task).weights
    expected = 0.5 * weights - 0.01 * _gradient(0.5 * weights, *task)
    np.testing.assert_allclose(decayed, expected, atol=1e-6)


def test_minibatches_show_every_image_once_before_any_comes_again():
    batches = episodes.minibatches(10, 4, 5, stateless_seed(3)).numpy()
    assert batches.shape == (5, 4)
    first, second = batches.ravel()[:10], batches.ravel()[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)


def test_inner_steps_see_their_minibatches_in_order(weights, task):
    """Two steps at once are one after another, on the images that the rows name."""
    start = State(weights, (tf.zeros_like(weights), tf.constant(0.0)), tf.constant(0.0))
    batches = tf.constant([[0, 2], [5, 1]])
    together = LEARNER.adapt(start, *task, batches)
    alone = start
    for row in batches:
        alone = LEARNER.inner_step(alone, *(tf.gather(part, row) for part in task))
    np.testing.assert_allclose(together.weights, alone.weights, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"optimizer": "lion"}, {"batch_size": 0}, {"learning_rate": -1.0}, {"weight_decay": 1.5}],
)
def test_an_inner_loop_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match="Received"):
        InnerLoop(**wrong)
