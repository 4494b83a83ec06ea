"""The inner loop: its arithmetic against NumPy on linear networks, and what it promises about seeds
and state.
"""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import random
from figr_tf.core.random import stateless_seed
from figr_tf.gan import adaptation, layers
from figr_tf.gan.adaptation import InnerSettings, Weights
from figr_tf.gan.draws import LatentPool
from figr_tf.gan.networks import apply_network
from tests.gan.linear import linear_networks

INNER = InnerSettings(learning_rate=1e-2)
SEED = stateless_seed(5)


def adapt(networks, weights, support, num_inner_steps, inner, seed):
    """The weights after so many steps from `weights`."""
    state = adaptation.start(weights, inner)
    return adaptation.adapt(networks, state, support, num_inner_steps, inner, seed).weights


@pytest.fixture(scope="module")
def tiny_adapt(tiny_networks):
    """Traced once: every number goes in as a tensor."""
    traced = tf.function(
        lambda weights, support, k, seed: adapt(tiny_networks, weights, support, k, INNER, seed)
    )

    def call(weights, support, num_inner_steps, seed=SEED):
        return traced(weights, support, tf.constant(num_inner_steps), seed)

    return call


def _equal(a: Weights, b: Weights) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True)
    )


def _numpy_inner_loop(a, w, support, rate, penalty_weights, seed):
    """Algorithm 1's inner loop by hand, a step for each of the weights λ; ∇w of (‖w‖ − 1)² is
    2 (‖w‖ − 1) w / ‖w‖ wherever the interpolates lie.
    """
    n = len(support)
    for k, penalty_weight in enumerate(penalty_weights):
        step_seed = tf.random.fold_in(seed, k, alg="philox")
        latent_seed = tf.random.split(step_seed, 2, alg="philox")[0]
        z_discriminator, z_generator = random.standard_normal(
            [2, n, a.shape[0]], latent_seed
        ).numpy()
        generated = z_discriminator @ a
        norm = np.linalg.norm(w)
        w = w - rate * (
            generated.mean(0)
            - support.reshape(n, -1).mean(0)
            + penalty_weight * 2 * (norm - 1) * w / norm
        )
        a = a - rate * -np.outer(z_generator.mean(0), w)
    return a, w


@pytest.mark.parametrize(("every", "penalty_weights"), [(1, [7, 7, 7]), (2, [0, 7, 0])])
def test_inner_loop_equals_algorithm_1_in_numpy(every, penalty_weights):
    networks = linear_networks()
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    support = rng.uniform(-1, 1, (5, 2, 2, 1)).astype(np.float32)
    weights = Weights((tf.constant(a),), (tf.constant(w[:, None]),))
    inner = InnerSettings(0.1, gradient_penalty_weight=7.0, gradient_penalty_every=every)

    @tf.function
    def three_steps(weights):
        return adapt(networks, weights, tf.constant(support), tf.constant(3), inner, SEED)

    adapted = three_steps(weights)
    expected_a, expected_w = _numpy_inner_loop(a, w, support, 0.1, penalty_weights, SEED)
    np.testing.assert_allclose(adapted.generator[0], expected_a, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(adapted.discriminator[0][:, 0], expected_w, rtol=1e-5, atol=1e-6)


def test_a_penalty_now_and_then_is_the_same_step_of_real_networks(
    tiny_networks, tiny_weights, tiny_support
):
    """Its derivatives, of second order, go through the branch of a graph that it stands in."""

    @tf.function
    def take(state, count, every, weight):
        inner = InnerSettings(1e-2, gradient_penalty_weight=weight, gradient_penalty_every=every)
        return adaptation.adapt(tiny_networks, state, tiny_support, count, inner, SEED)

    one, start = tf.constant(1), adaptation.start(tiny_weights, INNER)
    now_and_then = take(start, tf.constant(2), 2, 10.0)
    by_hand = take(take(start, one, 1, 0.0), one, 1, 10.0)
    for start, ours, expected in zip(
        *map(tf.nest.flatten, (tiny_weights, now_and_then.weights, by_hand.weights)), strict=True
    ):
        largest = np.abs(expected).max() + np.abs(expected - start).max()
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * largest)


def test_zero_steps_return_the_weights(tiny_adapt, tiny_weights, tiny_support):
    assert _equal(tiny_adapt(tiny_weights, tiny_support, 0), tiny_weights)


def test_no_variable_is_touched_and_both_networks_move(
    tiny_networks, tiny_adapt, tiny_weights, tiny_support
):
    adapted = tiny_adapt(tiny_weights, tiny_support, 2)
    assert _equal(adaptation.weights_of(tiny_networks), tiny_weights)
    for before, after in zip(tiny_weights, adapted, strict=True):
        assert any(np.abs(b - a).max() > 0 for b, a in zip(before, after, strict=True))
        assert all(np.isfinite(a).all() for a in after)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    tiny_adapt, tiny_weights, tiny_support
):
    first, again = (tiny_adapt(tiny_weights, tiny_support, 2) for _ in range(2))
    other = tiny_adapt(tiny_weights, tiny_support, 2, stateless_seed(6))
    assert _equal(first, again)
    assert not _equal(first, other)


EVERYTHING = InnerSettings(
    1e-2, optimizer="adam", batch_size=2, average_decay=0.5, gradient_penalty_every=2
)
POOL = LatentPool(random.standard_normal([7, 3], SEED), tf.constant(True))


@pytest.mark.parametrize(("inner", "pool"), [(INNER, None), (EVERYTHING, None), (EVERYTHING, POOL)])
def test_steps_taken_in_two_goes_equal_those_in_one(inner, pool):
    """Adam's moments, the average, the place in the pool and the penalty's turn go along."""
    networks, rng = linear_networks(), np.random.default_rng(2)
    support = tf.constant(rng.uniform(-1, 1, (5, 2, 2, 1)).astype(np.float32))

    @tf.function
    def take(state, count):
        return adaptation.adapt(networks, state, support, count, inner, SEED, pool)

    start = adaptation.start(adaptation.weights_of(networks), inner)
    whole = take(start, tf.constant(3))
    parts = take(take(start, tf.constant(1)), tf.constant(2))
    assert int(whole.steps_taken) == 3
    for a, b in zip(tf.nest.flatten(whole), tf.nest.flatten(parts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_adam_without_momentum_equals_its_algorithm_in_numpy():
    """Kingma & Ba 2015, algorithm 1 with β1 = 0 and β2 = 0.99, from slots of 0 in each task."""
    networks, rng = linear_networks(), np.random.default_rng(1)
    a, w = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    support = rng.uniform(-1, 1, (5, 2, 2, 1)).astype(np.float32)
    inner = InnerSettings(0.1, gradient_penalty_weight=7.0, optimizer="adam")
    weights = Weights((tf.constant(a),), (tf.constant(w[:, None]),))
    adapted = adapt(networks, weights, tf.constant(support), 3, inner, SEED)
    by_w, by_a = np.zeros_like(w), np.zeros_like(a)
    for k in range(3):
        # A step of plain SGD with rate 1 gives the gradients away.
        seed = tf.random.fold_in(SEED, k, alg="philox")
        stepped_w = _numpy_step(a, w, support, 7.0, seed)[1]
        gradient = w - stepped_w
        by_w = 0.99 * by_w + 0.01 * gradient**2
        w = w - 0.1 * gradient / (np.sqrt(by_w / (1 - 0.99 ** (k + 1))) + 1e-8)
        gradient = _numpy_generator_gradient(a, w, seed, len(support))
        by_a = 0.99 * by_a + 0.01 * gradient**2
        a = a - 0.1 * gradient / (np.sqrt(by_a / (1 - 0.99 ** (k + 1))) + 1e-8)
    np.testing.assert_allclose(adapted.generator[0], a, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(adapted.discriminator[0][:, 0], w, rtol=1e-4, atol=1e-5)


def _numpy_latents(a, seed, n):
    latent_seed = tf.random.split(seed, 2, alg="philox")[0]
    return random.standard_normal([2, n, a.shape[0]], latent_seed).numpy()


def _numpy_step(a, w, support, penalty_weight, seed):
    """The discriminator's gradient step of rate 1."""
    n = len(support)
    generated = _numpy_latents(a, seed, n)[0] @ a
    norm = np.linalg.norm(w)
    slope = penalty_weight * 2 * (norm - 1) * w / norm
    return a, w - (generated.mean(0) - support.reshape(n, -1).mean(0) + slope)


def _numpy_generator_gradient(a, w, seed, n):
    return -np.outer(_numpy_latents(a, seed, n)[1].mean(0), w)


def test_a_drawn_batch_holds_no_image_twice_before_all_are_in_it():
    images = tf.reshape(tf.range(5.0), [5, 1, 1, 1])
    for seed in range(20):
        few = adaptation.choose(images, 3, stateless_seed(seed)).numpy().ravel()
        many = adaptation.choose(images, 7, stateless_seed(seed)).numpy().ravel()
        assert len(set(few)) == 3
        assert sorted(np.bincount(many.astype(int), minlength=5)) == [1, 1, 1, 2, 2]
    drawn = {
        tuple(adaptation.choose(images, 3, stateless_seed(k)).numpy().ravel()) for k in range(20)
    }
    assert len(drawn) > 10


def test_samples_are_drawn_with_the_average_over_the_steps(
    tiny_networks, tiny_weights, tiny_support
):
    inner = InnerSettings(1e-2, average_decay=0.4)
    state, twin = adaptation.start(tiny_weights, inner), [w.numpy() for w in tiny_weights.generator]
    for count in range(3):
        state = adaptation.adapt(tiny_networks, state, tiny_support, 1, inner, SEED)
        decay = min(0.4, (count + 1) / (count + 10))
        now = state.weights.generator
        twin = [decay * a + (1 - decay) * w.numpy() for a, w in zip(twin, now, strict=True)]
    for ours, expected in zip(state.drawing_generator, twin, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    plain = adaptation.start(tiny_weights, INNER)
    assert plain.drawing_generator is plain.weights.generator


@pytest.mark.parametrize(
    "field",
    [
        {"optimizer": "rmsprop"},
        {"batch_size": 0},
        {"average_decay": 1.0},
        {"gradient_penalty_every": 0},
        {"gradient_penalty_every": 2, "gradient_penalty_weight": 0.0},
    ],
)
def test_impossible_options_are_refused(field):
    with pytest.raises(ValueError, match="Received"):
        InnerSettings(**field)


def test_every_support_image_counts(tiny_adapt, tiny_weights, tiny_support):
    for i in range(len(tiny_support)):
        other = tf.tensor_scatter_nd_update(tiny_support, [[i]], [-tiny_support[i]])
        same = tiny_adapt(tiny_weights, tiny_support, 1)
        assert not _equal(tiny_adapt(tiny_weights, other, 1), same)


def test_the_loop_is_a_loop_in_the_graph(tiny_networks, tiny_weights, tiny_support):
    """Unrolled, ten steps would make a graph ten times the size."""

    graph = tf.function(lambda: adapt(tiny_networks, tiny_weights, tiny_support, 10, INNER, SEED))
    operations = [op.type for op in graph.get_concrete_function().graph.get_operations()]
    assert "Conv2D" not in operations
    assert sum("While" in kind for kind in operations) == 1


@pytest.mark.parametrize(
    "inner", [InnerSettings(1e-2, "bce", 0.0), InnerSettings(1e-2, "wasserstein", 10.0, "pixel")]
)
def test_other_objectives_give_finite_and_different_weights(
    inner, tiny_networks, tiny_adapt, tiny_weights, tiny_support
):
    adapted = adapt(tiny_networks, tiny_weights, tiny_support, 1, inner, SEED)
    assert all(np.isfinite(w).all() for w in tf.nest.flatten(adapted))
    assert not _equal(adapted, tiny_adapt(tiny_weights, tiny_support, 1))


def test_adaptation_draws_the_scores_of_real_and_generated_images_apart(
    tiny_networks, tiny_weights, tiny_support
):
    """The sign of the discriminator's step, by its purpose."""
    no_penalty = InnerSettings(1e-3, gradient_penalty_weight=0.0)
    adapted = adapt(tiny_networks, tiny_weights, tiny_support, 5, no_penalty, SEED)
    fake = adaptation.generate_images(
        tiny_networks, tiny_weights.generator, random.standard_normal([8, 8], SEED)
    )

    def gap(weights):
        real_scores, fake_scores = (
            apply_network(tiny_networks.discriminator, weights.discriminator, images)
            for images in (tiny_support, fake)
        )
        return float(tf.reduce_mean(real_scores) - tf.reduce_mean(fake_scores))

    assert gap(adapted) > gap(tiny_weights)


@pytest.mark.parametrize("field", [{"loss": "no such loss"}, {"gradient_penalty_norm": "batch"}])
def test_unknown_objectives_are_refused(field):
    with pytest.raises(ValueError, match=r"must be one of .*Received"):
        InnerSettings(**field)


def _straightforward(x, slope, scale, offset):
    """PReLU and LayerNorm as their papers write them, differentiated automatically."""
    activated = tf.where(x > 0.0, x, slope * x)
    axes = list(range(1, x.shape.rank))
    centred = activated - tf.reduce_mean(activated, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
    return centred / tf.sqrt(variance + 1e-5) * scale + offset


def test_the_lean_inner_step_changes_no_result(
    tiny_networks, tiny_weights, tiny_support, monkeypatch
):
    lean = adapt(tiny_networks, tiny_weights, tiny_support, 1, InnerSettings(), SEED)
    monkeypatch.setattr(layers, "prelu_layer_norm", _straightforward)
    plain = adapt(tiny_networks, tiny_weights, tiny_support, 1, InnerSettings(), SEED)
    for start, ours, expected in zip(
        *map(tf.nest.flatten, (tiny_weights, lean, plain)), strict=True
    ):
        largest = np.abs(expected).max() + np.abs(expected - start).max()
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * largest)
