"""The inner loop: its arithmetic against NumPy on linear networks, and what it promises about seeds and state."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from figr_tf import adaptation
from figr_tf.adaptation import InnerStep, Weights, adapt, stateless_seed
from figr_tf.networks import Networks

STEP = InnerStep(learning_rate=1e-2)
SEED = stateless_seed(5)


@pytest.fixture(scope="module")
def tiny_adapt(tiny_networks):
    """Traced once: every number goes in as a tensor."""
    traced = tf.function(
        lambda weights, support, k, seed, first: adapt(tiny_networks, weights, support, k, STEP, seed, first)
    )

    def call(weights, support, num_inner_steps, seed=SEED, first_inner_step=0):
        return traced(weights, support, tf.constant(num_inner_steps), seed, tf.constant(first_inner_step))

    return call


def _equal(a: Weights, b: Weights) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True))


def _linear_networks() -> Networks:
    """G(z) = z·A as a 2×2 image, D(x) = w·x: every gradient of the inner step has a closed form."""
    generator = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, use_bias=False), keras.layers.Reshape((2, 2, 1))]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(1, use_bias=False),
            keras.layers.Reshape(()),
        ]
    )
    return Networks(generator, discriminator)


def _numpy_inner_loop(a, w, support, num_inner_steps, rate, penalty_weight, seed):
    """Algorithm 1's inner loop by hand; ∇w of (‖w‖ − 1)² is 2 (‖w‖ − 1) w / ‖w‖ wherever the interpolates lie."""
    n = len(support)
    for k in range(num_inner_steps):
        step_seed = tf.random.fold_in(seed, k, alg="philox")
        latent_seed = tf.random.split(step_seed, 2, alg="philox")[0]
        z_discriminator, z_generator = adaptation.draw_latents([2, n, a.shape[0]], latent_seed).numpy()
        generated = z_discriminator @ a
        norm = np.linalg.norm(w)
        w = w - rate * (generated.mean(0) - support.reshape(n, -1).mean(0) + penalty_weight * 2 * (norm - 1) * w / norm)
        a = a - rate * -np.outer(z_generator.mean(0), w)
    return a, w


def test_inner_loop_equals_algorithm_1_in_numpy():
    networks = _linear_networks()
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    support = rng.uniform(-1, 1, (5, 2, 2, 1)).astype(np.float32)
    weights = Weights((tf.constant(a),), (tf.constant(w[:, None]),))
    adapted = adapt(networks, weights, tf.constant(support), 3, InnerStep(0.1, gradient_penalty_weight=7.0), SEED)
    expected_a, expected_w = _numpy_inner_loop(a, w, support, 3, 0.1, 7.0, SEED)
    np.testing.assert_allclose(adapted.generator[0], expected_a, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(adapted.discriminator[0][:, 0], expected_w, rtol=1e-5, atol=1e-6)


def test_zero_steps_return_the_weights(tiny_adapt, tiny_weights, tiny_support):
    assert _equal(tiny_adapt(tiny_weights, tiny_support, 0), tiny_weights)


def test_no_variable_is_touched_and_both_networks_move(tiny_networks, tiny_adapt, tiny_weights, tiny_support):
    adapted = tiny_adapt(tiny_weights, tiny_support, 2)
    assert _equal(adaptation.weights_of(tiny_networks), tiny_weights)
    for before, after in zip(tiny_weights, adapted, strict=True):
        assert any(np.abs(b - a).max() > 0 for b, a in zip(before, after, strict=True))
        assert all(np.isfinite(a).all() for a in after)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tiny_adapt, tiny_weights, tiny_support):
    first, again = (tiny_adapt(tiny_weights, tiny_support, 2) for _ in range(2))
    other = tiny_adapt(tiny_weights, tiny_support, 2, stateless_seed(6))
    assert _equal(first, again)
    assert not _equal(first, other)


def test_steps_taken_in_two_goes_equal_those_in_one(tiny_adapt, tiny_weights, tiny_support):
    whole = tiny_adapt(tiny_weights, tiny_support, 3)
    part = tiny_adapt(tiny_weights, tiny_support, 1)
    assert _equal(tiny_adapt(part, tiny_support, 2, first_inner_step=1), whole)


def test_every_support_image_counts(tiny_adapt, tiny_weights, tiny_support):
    for i in range(len(tiny_support)):
        other = tf.tensor_scatter_nd_update(tiny_support, [[i]], [-tiny_support[i]])
        same = tiny_adapt(tiny_weights, tiny_support, 1)
        assert not _equal(tiny_adapt(tiny_weights, other, 1), same)


def test_the_loop_is_a_loop_in_the_graph(tiny_networks, tiny_weights, tiny_support):
    """Unrolled, ten steps would make a graph ten times the size."""

    graph = tf.function(lambda: adapt(tiny_networks, tiny_weights, tiny_support, 10, STEP, SEED))
    operations = [op.type for op in graph.get_concrete_function().graph.get_operations()]
    assert "Conv2D" not in operations
    assert sum("While" in kind for kind in operations) == 1


@pytest.mark.parametrize("step", [InnerStep(1e-2, "bce", 0.0), InnerStep(1e-2, "wasserstein", 10.0, "pixel")])
def test_other_objectives_give_finite_and_different_weights(
    step, tiny_networks, tiny_adapt, tiny_weights, tiny_support
):
    adapted = adapt(tiny_networks, tiny_weights, tiny_support, 1, step, SEED)
    assert all(np.isfinite(w).all() for w in tf.nest.flatten(adapted))
    assert not _equal(adapted, tiny_adapt(tiny_weights, tiny_support, 1))


def test_adaptation_draws_the_scores_of_real_and_generated_images_apart(tiny_networks, tiny_weights, tiny_support):
    """The sign of the discriminator's step, by its purpose."""
    no_penalty = InnerStep(1e-3, gradient_penalty_weight=0.0)
    adapted = adapt(tiny_networks, tiny_weights, tiny_support, 5, no_penalty, SEED)
    fake = adaptation.generate_images(tiny_networks, tiny_weights.generator, adaptation.draw_latents([8, 8], SEED))

    def gap(weights):
        real_scores = adaptation.score_images(tiny_networks, weights.discriminator, tiny_support)
        return tf.reduce_mean(real_scores) - tf.reduce_mean(
            adaptation.score_images(tiny_networks, weights.discriminator, fake)
        )

    assert gap(adapted) > gap(tiny_weights)


@pytest.mark.parametrize("field", [{"loss": "hinge"}, {"gradient_penalty_norm": "batch"}])
def test_unknown_objectives_are_refused(field):
    with pytest.raises(ValueError, match=r"must be one of .*Received"):
        InnerStep(**field)
