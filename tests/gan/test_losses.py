"""Hand values, and the sign convention against the released code's."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf import train
from figr_tf.gan import losses

REAL, GENERATED = tf.constant([1.0, 3.0]), tf.constant([-2.0, 0.0])


def test_wasserstein_losses_are_those_computed_by_hand():
    assert float(losses.discriminator_loss("wasserstein", REAL, GENERATED)) == -1 - 2
    assert float(losses.generator_loss("wasserstein", GENERATED)) == 1


def test_bce_losses_are_those_computed_by_hand():
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    real, generated = REAL.numpy(), GENERATED.numpy()
    expected = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(generated)).mean()
    np.testing.assert_allclose(
        losses.discriminator_loss("bce", REAL, GENERATED), expected, rtol=1e-6
    )
    np.testing.assert_allclose(
        losses.generator_loss("bce", GENERATED), -np.log(sigmoid(generated)).mean(), rtol=1e-6
    )


def test_bce_is_finite_for_extreme_scores():
    huge = tf.constant([1e4, -1e4])
    assert np.isfinite(losses.discriminator_loss("bce", huge, huge))


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_better_scores_mean_lower_losses(loss):
    # Near the decision: a loss that saturates, such as a hinge, is flat where scores are good.
    real, generated = tf.constant([-0.2, 0.4]), tf.constant([-0.4, 0.2])
    before = losses.discriminator_loss(loss, real, generated)
    assert losses.discriminator_loss(loss, real + 0.1, generated) < before
    assert losses.discriminator_loss(loss, real, generated - 0.1) < before
    before = losses.generator_loss(loss, generated)
    assert losses.generator_loss(loss, generated + 0.1) < before


def _sum_times(factor):
    return lambda images: factor * tf.reduce_sum(images, [1, 2, 3])[:, tf.newaxis]


def test_penalty_of_a_linear_discriminator_by_hand():
    """D(x) = 2·Σx on 2×2 pixels: image gradient of norm √(4·2²) = 4, pixel gradients of norm 2."""
    images = tf.random.stateless_normal([3, 2, 2, 1], [0, 0])
    np.testing.assert_allclose(
        losses.gradient_penalty(_sum_times(2.0), images, "image"), 9.0, rtol=1e-6
    )
    np.testing.assert_allclose(
        losses.gradient_penalty(_sum_times(2.0), images, "pixel"), 1.0, rtol=1e-6
    )


def test_pixel_norm_is_taken_over_the_channels():
    """Three channels of slope 2 in each pixel: norm √12."""
    images = tf.zeros([2, 2, 2, 3])
    expected = (np.sqrt(12) - 1) ** 2
    np.testing.assert_allclose(
        losses.gradient_penalty(_sum_times(2.0), images, "pixel"), expected, rtol=1e-6
    )


@pytest.mark.parametrize("norm", losses.GRADIENT_PENALTY_NORMS)
def test_penalty_and_its_gradient_are_finite_where_the_discriminator_is_flat(norm):
    slope = tf.constant(0.0)
    images = tf.ones([2, 4, 4, 1])
    with tf.GradientTape() as tape:
        tape.watch(slope)
        penalty = losses.gradient_penalty(_sum_times(slope), images, norm)
    np.testing.assert_allclose(penalty, 1.0, rtol=1e-5)
    assert np.isfinite(tape.gradient(penalty, slope))


def _loss_of_2018(w, real, generated, interpolates):
    """The released code: target +1 for real, −1 for generated, one mean over all 2n, penalty weight
    10.
    """

    def score(images):
        return tf.linalg.matvec(tf.reshape(images, [-1, 4]), w)[:, tf.newaxis]

    targets = tf.constant([[1.0], [1.0], [-1.0], [-1.0]])
    scores = score(tf.concat([real, generated], 0))
    return tf.reduce_mean(scores * targets) + 10 * losses.gradient_penalty(score, interpolates)


def _our_loss(w, real, generated, interpolates):
    def score(images):
        return tf.linalg.matvec(tf.reshape(images, [-1, 4]), w)[:, tf.newaxis]

    ours = losses.discriminator_loss("wasserstein", score(real), score(generated))
    return ours + 20 * losses.gradient_penalty(score, interpolates)


def test_the_update_is_that_of_the_2018_code_with_twice_the_penalty_and_half_the_rate():
    real, generated, interpolates = (
        tf.random.stateless_normal([2, 2, 2, 1], [seed, 0]) for seed in range(3)
    )
    w = tf.constant([0.3, -0.8, 0.5, 0.1])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(w)
        ours = _our_loss(w, real, generated, interpolates)
        theirs = _loss_of_2018(-w, real, generated, interpolates)
    np.testing.assert_allclose(tape.gradient(ours, w), 2 * tape.gradient(theirs, w), rtol=1e-5)


def test_an_unknown_loss_is_refused_rather_than_taken_for_another():
    with pytest.raises(ValueError, match="Received: 'no such loss'"):
        losses.discriminator_loss("no such loss", tf.zeros([2, 1]), tf.zeros([2, 1]))
    with pytest.raises(ValueError, match="Received: 'no such loss'"):
        losses.generator_loss("no such loss", tf.zeros([2, 1]))


def test_the_flag_offers_every_loss_that_there_is():
    assert tuple(train.flags.FLAGS["loss"].parser.enum_values) == losses.LOSSES
