"""The generator that redraws: where its samples come from, and what reaches its weights."""

import numpy as np
import tensorflow as tf

from figr_tf.core import random
from figr_tf.warp import generator as warp_generator
from figr_tf.warp.generator import Draw, random_draw

SEED = random.stateless_seed(4)


def test_the_other_image_is_never_the_source_and_both_belong_to_the_set():
    draw = random_draw([3, 200], 40, 4, SEED)
    assert set(np.unique(draw.source)) == set(np.unique(draw.other)) == {0, 1, 2, 3}
    assert not np.any(draw.source == draw.other)
    np.testing.assert_array_equal(random_draw([1, 5], 40, 1, SEED).other, np.zeros((1, 5)))


def test_without_latents_a_sample_stays_close_to_its_source(generator, support_ink):
    """The start of the training: the drawing itself, shifted towards the mean pose."""
    source = tf.constant([[0, 1, 2], [2, 1, 0]])
    ink = generator((support_ink, Draw(tf.zeros([2, 3, 64]), source, (source + 1) % 3)))
    for task in range(2):
        errors = tf.reduce_mean(tf.abs(ink[task][:, None] - support_ink[task][None]), [2, 3])
        np.testing.assert_array_equal(tf.argmin(errors, 1), source[task])


def test_samples_are_ink_and_differ_with_the_latents(generator, support_ink):
    ink = generator((support_ink, random_draw([2, 8], 64, 3, SEED))).numpy()
    assert ink.shape == (2, 8, 16, 16)
    assert ink.min() >= 0
    assert ink.max() <= 1
    assert len(np.unique(ink.reshape(16, -1), axis=0)) == 16


def test_whatever_the_threshold_paper_stays_paper_and_ink_ink():
    generator = warp_generator.WarpGenerator(image_size=16, width=8)
    generator.latent_threshold.assign(tf.fill([64, 1], 10.0))
    block = np.zeros((1, 2, 16, 16), np.float32)
    block[..., 5:11, 5:11] = 1
    ink = generator((tf.constant(block), random_draw([1, 64], 64, 2, SEED))).numpy()
    np.testing.assert_allclose(ink.min((2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(ink.max((2, 3)), 1, atol=1e-6)
    assert np.ptp(ink.mean((2, 3))) > 0.05  # and yet it is drawn bolder and finer


def test_a_task_is_not_influenced_by_the_others(generator, support_ink):
    draw = random_draw([2, 4], 64, 3, SEED)
    together = generator((support_ink, draw))
    alone = generator((support_ink[1:], Draw(*(part[1:] for part in draw))))
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_the_order_of_the_support_does_not_matter(generator, support_ink):
    draw = random_draw([2, 4], 64, 3, SEED)
    turned = draw._replace(source=(draw.source + 1) % 3, other=(draw.other + 1) % 3)
    np.testing.assert_allclose(
        generator((support_ink, draw)), generator((tf.roll(support_ink, 1, 1), turned)), atol=1e-5
    )


def test_every_weight_of_the_generator_is_reached_by_the_loss(generator, support_ink):
    with tf.GradientTape() as tape:
        ink = generator((support_ink, random_draw([2, 8], 64, 3, SEED)))
        loss = tf.reduce_sum(tf.square(ink - 0.3))
    for weight, gradient in zip(
        generator.trainable_variables,
        tape.gradient(loss, [w.value for w in generator.trainable_variables]),
        strict=True,
    ):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 0, weight.path
