"""What the inner steps draw."""

import numpy as np
import tensorflow as tf

from figr_tf.core import random
from figr_tf.core.random import stateless_seed
from figr_tf.gan import adaptation
from figr_tf.gan.adaptation import InnerSettings
from figr_tf.gan.draws import LatentPool
from tests.gan.linear import linear_networks

SEED = stateless_seed(5)


def test_latents_of_a_pool_come_in_turn_and_the_generators_half_a_round_ahead():
    pool, fresh = tf.range(5.0)[:, tf.newaxis], tf.fill([6, 1], -1.0)
    used = LatentPool(pool, tf.constant(True))
    steps = [used.latents_of_step(fresh, tf.constant(k)).numpy()[:, 0] for k in range(3)]
    np.testing.assert_array_equal([step[:3] for step in steps], [[0, 1, 2], [3, 4, 0], [1, 2, 3]])
    np.testing.assert_array_equal([step[3:] for step in steps], [[2, 3, 4], [0, 1, 2], [3, 4, 0]])
    unused = LatentPool(pool, tf.constant(False))
    np.testing.assert_array_equal(unused.latents_of_step(fresh, tf.constant(0)), fresh)


def test_with_a_pool_the_real_images_come_in_turn():
    images, chosen = tf.range(5.0)[:, tf.newaxis], tf.fill([3, 1], -1.0)
    used = LatentPool(tf.zeros([8, 1]), tf.constant(True))
    steps = [used.images_of_step(chosen, images, tf.constant(k)).numpy()[:, 0] for k in range(3)]
    np.testing.assert_array_equal(steps, [[0, 1, 2], [3, 4, 0], [1, 2, 3]])
    unused = LatentPool(tf.zeros([8, 1]), tf.constant(False))
    np.testing.assert_array_equal(unused.images_of_step(chosen, images, tf.constant(0)), chosen)


def test_an_adaptation_with_a_pool_goes_through_its_real_images_whatever_the_seed():
    """Two of four images a step, two steps: all of them once, so the seed changes nothing."""
    networks, rng = linear_networks(), np.random.default_rng(3)
    support = tf.constant(rng.uniform(-1, 1, (4, 2, 2, 1)).astype(np.float32))
    inner = InnerSettings(1e-2, gradient_penalty_weight=0.0, batch_size=2)
    start = adaptation.start(adaptation.weights_of(networks), inner)
    pool = LatentPool(random.standard_normal([4, 3], SEED), tf.constant(True))

    def scorer(seed, pool):
        seed = stateless_seed(seed)
        return adaptation.adapt(networks, start, support, 2, inner, seed, pool).weights[1][0]

    np.testing.assert_array_equal(scorer(0, pool), scorer(1, pool))
    assert np.any(scorer(0, None) != scorer(1, None))
    # By hand: the networks are linear, so every step moves the scores towards its images' mean.
    seen = support.numpy().reshape(2, 2, 4).mean(1)
    a, w = (weights[0].numpy() for weights in start.weights)
    for k, (against, practised) in enumerate([([0, 1], [2, 3]), ([2, 3], [0, 1])]):
        w = w + 1e-2 * (seen[k] - (pool.latents.numpy()[against] @ a).mean(0))[:, None]
        a = a + 1e-2 * pool.latents.numpy()[practised].mean(0)[:, None] @ w.T
    np.testing.assert_allclose(scorer(0, pool), w, rtol=1e-5, atol=1e-6)


def test_with_a_pool_the_discriminator_and_the_generator_see_its_latents_and_no_others():
    """The seed decides nothing but the penalty's points, which are left out here."""
    networks, rng = linear_networks(), np.random.default_rng(3)
    support = tf.constant(rng.uniform(-1, 1, (5, 2, 2, 1)).astype(np.float32))
    inner = InnerSettings(1e-2, gradient_penalty_weight=0.0)
    start = adaptation.start(adaptation.weights_of(networks), inner)
    pool = random.standard_normal([8, 3], SEED)
    used = LatentPool(pool, tf.constant(True))

    def after_a_step(seed, pool):
        state = adaptation.adapt(networks, start, support, 1, inner, stateless_seed(seed), pool)
        return state.weights

    with_pool = after_a_step(0, used)
    for one, other in zip(*map(tf.nest.flatten, (with_pool, after_a_step(1, used))), strict=True):
        np.testing.assert_array_equal(one, other)
    fresh, others = after_a_step(0, None), after_a_step(1, None)
    assert np.any(fresh.generator[0] != others.generator[0])
    # By hand: both networks are linear, so a step of each is the rate times a mean.
    a, w = (weights[0].numpy() for weights in start.weights)
    against, practised = pool[:5].numpy(), tf.gather(pool, [4, 5, 6, 7, 0]).numpy()
    moved = w + 1e-2 * (support.numpy().reshape(5, 4).mean(0) - (against @ a).mean(0))[:, None]
    np.testing.assert_allclose(with_pool.discriminator[0], moved, rtol=1e-5, atol=1e-6)
    expected = a + 1e-2 * practised.mean(0)[:, None] @ moved.T
    np.testing.assert_allclose(with_pool.generator[0], expected, rtol=1e-5, atol=1e-6)
