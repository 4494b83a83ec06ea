"""The energy distance that generators are trained with, against the referee's own."""

import numpy as np
import pytest
import tensorflow as tf

from figr_common.blur import blur_features
from figr_tf.data import glyphs
from figr_tf.evaluation import scores
from figr_tf.warp import energy


@pytest.fixture(scope="module")
def drawings():
    """uint8 [6, 32, 32, 1], and the same as ink."""
    images = glyphs.glyph_images(3, 6, 32, seed=0)
    return images, tf.constant(1 - images[..., 0] / np.float32(255))


def test_energy_distance_equals_the_referees():
    rng = np.random.default_rng(0)
    samples, real = rng.normal(size=(2, 5, 3)), rng.normal(1, 1, (2, 7, 3))
    expected = [scores.energy_distance(g, r) for g, r in zip(samples, real, strict=True)]
    found = energy.energy_distance(tf.constant(samples, tf.float32), tf.constant(real, tf.float32))
    np.testing.assert_allclose(found, expected, atol=1e-2)  # √ε where the referee has 0


def test_copying_equals_the_referees_row_of_copies_in_the_mean():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(1, 12, 3)).astype(np.float32)
    copies = real[0, rng.integers(0, 4, 20_000)]
    few = [scores.energy_distance(part, real[0, 4:]) for part in np.split(copies, 40)]
    assert abs(energy.copying(tf.constant(real), 4) - np.mean(few)) < 0.05


def test_the_blur_space_is_the_referees(drawings):
    images, ink = drawings
    expected = blur_features(images)
    np.testing.assert_allclose(energy.BlurSpace(32)(ink), 1 - expected, atol=1e-3)
