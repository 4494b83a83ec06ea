"""The outer loop: what is handed to the optimiser, and what is left alone."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from figr_tf import adaptation, losses, reptile
from figr_tf.adaptation import InnerStep, stateless_seed
from figr_tf.networks import apply_network, build_networks
from tests.conftest import TINY

STEP = InnerStep(learning_rate=1e-2)
SEEDS = tf.stack([stateless_seed(1), stateless_seed(2)])


@pytest.fixture(scope="module")
def support():
    return tf.random.stateless_uniform([2, 2, 16, 16, 1], [3, 3], -1, 1)


def _state(optimizer_factory, spec=TINY, inner=STEP, jit_compile=False):
    state = reptile.Reptile(build_networks(spec, seed=0), optimizer_factory(), optimizer_factory())

    @tf.function(autograph=False, jit_compile=jit_compile)
    def step(images, k, seeds):
        phi = adaptation.weights_of(state.networks)
        return state.descend(*reptile.meta_gradient(state.networks, phi, images, k, inner, seeds))

    return state, lambda images, k, seeds: step(images, tf.constant(k), seeds)


def _weights(state):
    return [w.numpy() for w in tf.nest.flatten(adaptation.weights_of(state.networks))]


def _everything(state):
    optimizers = (state.generator_optimizer, state.discriminator_optimizer)
    return _weights(state) + [v.numpy() for optimizer in optimizers for v in optimizer.variables]


@pytest.fixture(scope="module")
def adam_state():
    return _state(lambda: reptile.Adam(1e-3))


@pytest.fixture(scope="module")
def adapted(tiny_networks, tiny_weights, support):
    """W of both tasks, by the inner loop alone."""
    return [adaptation.adapt(tiny_networks, tiny_weights, support[t], 1, STEP, SEEDS[t]) for t in range(2)]


def test_meta_gradient_is_meta_weights_minus_adapted_weights(tiny_networks, tiny_weights, support, adapted):
    gradient, _ = reptile.meta_gradient(tiny_networks, tiny_weights, support[:1], 1, STEP, SEEDS[:1])
    for g, phi, w in zip(*map(tf.nest.flatten, (gradient, tiny_weights, adapted[0])), strict=True):
        np.testing.assert_array_equal(g, phi - w)


@pytest.mark.parametrize("tasks_at_once", [1, 2])
def test_meta_batch_averages_its_tasks(tasks_at_once, tiny_networks, tiny_weights, support, adapted):
    gradient, _ = reptile.meta_gradient(tiny_networks, tiny_weights, support, 1, STEP, SEEDS, tasks_at_once)
    for g, phi, w0, w1 in zip(*map(tf.nest.flatten, (gradient, tiny_weights, *adapted)), strict=True):
        # Side by side rounds otherwise than alone, and differences of weights near 1 are rounded at 1e-7 themselves.
        expected = phi - (w0 + w1) / 2
        np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max() + 1e-6)


@pytest.mark.parametrize("architecture", ["resnet", "dcgan"])
def test_tasks_side_by_side_are_adapted_as_alone(architecture, support):
    """In colour, so that channels and tasks can be told apart; the penalty has a test of its own below."""
    networks = build_networks(dataclasses.replace(TINY, architecture=architecture, channels=3), seed=0)
    weights, images = adaptation.weights_of(networks), tf.concat([support, support / 2, -support], -1)
    step = InnerStep(learning_rate=1e-3, gradient_penalty_weight=0.0)
    together = adaptation.adapt(networks, adaptation.side_by_side(weights, 2), images, 2, step, SEEDS)
    alone = [adaptation.adapt(networks, weights, images[t], 2, step, SEEDS[t]) for t in range(2)]
    latents = adaptation.draw_latents([2, 3, TINY.latent_dim], SEEDS[0])
    pictures = adaptation.generate_images(networks, together.generator, latents)
    for t in range(2):
        for start, joined, single in zip(*map(tf.nest.flatten, (weights, together, alone[t])), strict=True):
            mine = joined[..., t * single.shape[-1] : (t + 1) * single.shape[-1]]
            np.testing.assert_allclose(mine, single, atol=1e-3 * np.abs(single - start).max() + 1e-6)
        picture = adaptation.generate_images(networks, alone[t].generator, latents[t])
        np.testing.assert_allclose(pictures[t], picture, atol=1e-4)


def test_the_gradient_penalty_of_tasks_side_by_side_is_that_of_each_alone():
    """To rounding, for most images: where a PReLU input is within rounding of 0, slope and penalty jump."""
    network = build_networks(dataclasses.replace(TINY, channels=3), seed=0).discriminator
    weights = tuple(v.value.read_value() for v in network.trainable_variables)
    double = tuple(tf.concat([w, 1.1 * w], -1) for w in weights)

    @tf.function(autograph=False)
    def errors(images):
        """How far penalty and gradient of two tasks are from those of each alone, relative to the largest value."""
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([weights, double])
            joined = tf.concat(tf.unstack(images), -1)
            both = losses.gradient_penalty(lambda x: apply_network(network, double, x, 2), joined)
            first = losses.gradient_penalty(lambda x: apply_network(network, weights, x), images[0])
            scaled = tuple(1.1 * w for w in weights)
            second = losses.gradient_penalty(lambda x: apply_network(network, scaled, x), images[1])
        values = both - tf.concat([first, second], 0)
        gradients = [
            joined[..., : alone.shape[-1]] - alone
            for joined, alone in zip(tape.gradient(both, double), tape.gradient(first, weights), strict=True)
            if alone is not None
        ]
        return tf.reduce_max(tf.abs(values)) / first[0], tf.stack([tf.reduce_max(tf.abs(g)) for g in gradients])

    draws = [errors(tf.random.stateless_uniform([2, 2, 16, 16, 3], [seed, 3], -1, 1)) for seed in range(9)]
    assert np.median([value for value, _ in draws]) < 1e-5
    assert np.median([np.max(gradient) for _, gradient in draws]) < 1e-3


def test_with_sgd_of_rate_1_the_meta_weights_land_on_the_adapted_weights(support, adapted):
    state, step = _state(lambda: keras.optimizers.SGD(1.0))
    step(support[:1], 1, SEEDS[:1])
    for phi, w in zip(_weights(state), tf.nest.flatten(adapted[0]), strict=True):
        # Not to the bit: here the inner loop runs compiled as one graph, there operation by operation.
        np.testing.assert_allclose(phi, w, rtol=1e-5, atol=1e-5)


def test_adam_moves_the_meta_weights_towards_the_adapted_weights(adam_state, support, adapted):
    """The wrong sign of the meta-gradient moves every weight away: Adam's first step is rate · sign."""
    state, step = adam_state
    before = _weights(state)
    step(support[:1], 1, SEEDS[:1])
    for phi, moved, w in zip(before, _weights(state), tf.nest.flatten(adapted[0]), strict=True):
        large = np.abs(w - phi) > 1e-6
        assert np.array_equal(np.sign(moved - phi)[large], np.sign(w.numpy() - phi)[large])


def test_adam_is_keras_adam_with_the_epsilon_of_pytorch():
    start = np.array([1.0, -2.0, 3.0], np.float32)
    ours, theirs = keras.Variable(start), keras.Variable(start)
    adam, twin = reptile.Adam(1e-2), keras.optimizers.Adam(1e-2, epsilon=1e-8)
    for optimizer, variable in ((adam, ours), (twin, theirs)):
        optimizer.build([variable])
    for gradient in ([1.0, -1e-8, 1e-3], [0.5, 2e-8, -1e-3], [0.0, 1e-9, 1.0]):
        adam.apply([tf.constant(gradient)], [ours])
        twin.apply([tf.constant(gradient)], [theirs])
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_zero_inner_steps_leave_the_meta_weights(support):
    state, step = _state(lambda: reptile.Adam(1e-3))
    before = _weights(state)
    step(support[:1], 0, SEEDS[:1])
    for a, b in zip(before, _weights(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_meta_step_that_is_not_finite_changes_no_bit_and_is_counted(adam_state, support):
    state, step = adam_state
    start, before = int(state.meta_step), _everything(state)
    metrics = step(support[:1] * np.nan, 1, SEEDS[:1])
    assert not bool(metrics.finite)
    for a, b in zip(before, _everything(state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (int(state.meta_step), int(state.num_skipped), int(state.num_skipped_in_a_row)) == (start + 1, 1, 1)
    step(support[:1] * np.inf, 1, SEEDS[:1])
    assert int(state.num_skipped_in_a_row) == 2
    step(support[:1], 1, SEEDS[:1])
    assert (int(state.num_skipped), int(state.num_skipped_in_a_row)) == (2, 0)
    assert all(np.isfinite(w).all() for w in _weights(state))


def test_the_meta_step_compiles_with_xla_and_agrees_with_the_plain_one(support, monkeypatch):
    """On given latents and interpolates: XLA draws other random numbers from the same seed."""
    spec = dataclasses.replace(TINY, architecture="dcgan")  # a quarter of the graph, the same operations
    inner = InnerStep(learning_rate=1e-4)  # small: two steps must not amplify the differences of rounding
    state, step = _state(lambda: keras.optimizers.SGD(1.0), spec, inner)
    compiled_state, compiled_step = _state(lambda: keras.optimizers.SGD(1.0), spec, inner, jit_compile=True)
    before = _weights(state)
    # After the networks are built: their initialisers draw from the same function.
    monkeypatch.setattr(adaptation, "draw_latents", lambda *_: tf.reshape(tf.cos(tf.range(32.0)), [2, 2, 8]))
    monkeypatch.setattr(tf.random, "stateless_uniform", lambda shape, *_, **__: tf.fill(shape, 0.3))
    for take in (step, compiled_step):
        assert take(support, 2, SEEDS).finite
    for start, a, b in zip(before, _weights(state), _weights(compiled_state), strict=True):
        update = a - start
        np.testing.assert_allclose(b - start, update, rtol=1e-3, atol=1e-3 * np.abs(update).max() + 1e-7)
