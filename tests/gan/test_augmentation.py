"""Variations of a support set."""

import numpy as np
import tensorflow as tf

from figr_tf.core.random import stateless_seed
from figr_tf.gan import augmentation

SEED = stateless_seed(5)


def test_maps_of_no_amount_leave_images_and_a_jitter_moves_each(tiny_support):
    still = augmentation.affine(tiny_support, tf.zeros([6, len(tiny_support)]))
    np.testing.assert_allclose(still, tiny_support, atol=1e-5)
    moved = augmentation.jitter(6).vary(tiny_support, SEED).numpy()
    assert moved.shape == (6, *tiny_support.shape[1:])
    assert len({image.tobytes() for image in moved}) == 6
    assert np.abs(moved - augmentation.jitter(6).vary(tiny_support, SEED)).max() == 0
    assert moved.min() >= -1
    assert moved.max() <= 1


def test_jitter_shows_paper_where_there_was_nothing():
    ink = tf.fill([1, 16, 16, 1], -1.0)
    shifted = augmentation.affine(ink, tf.constant([[0.0], [0.0], [0.0], [0.0], [1.0], [0.0]]))
    edge = shifted.numpy()[0, :, [0, -1], 0]
    assert (edge == 1.0).any()
    assert np.mean(shifted == -1.0) > 0.9
