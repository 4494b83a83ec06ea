"""The inner loop and the samples: against finite differences, and against the scores."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core.random import stateless_seed
from figr_tf.pixelcnn import models
from figr_tf.pixelcnn.prediction import Predictor
from tests.pixelcnn.conftest import SPEC, random_drawings, random_weights

SUPPORT = random_drawings(3)
RATE = 0.1


def test_no_inner_step_returns_the_meta_weights_to_the_bit(predictors):
    weights = random_weights(SPEC)
    adapted = predictors["none"].adapt(weights, SUPPORT, RATE, 0)
    for name, weight in weights.items():
        np.testing.assert_array_equal(adapted[name], weight)


def test_a_step_goes_down_the_slope_of_the_supports_nats(predictors):
    weights, rng = random_weights(SPEC), np.random.default_rng(1)
    stepped = predictors["none"].adapt(weights, SUPPORT, RATE, 1)
    slope = {
        name: (w - stepped[name].numpy()) / (RATE * models.step_scale(name))
        for name, w in weights.items()
    }
    # Uphill, but not straight: a wrong part of the slope cannot hide.
    direction = {name: g * rng.uniform(0, 2, g.shape) for name, g in slope.items()}
    expected = sum(float(np.sum(slope[name] * direction[name])) for name in weights)
    nudge = 1e-2 / np.sqrt(sum(np.sum(d**2) for d in direction.values()))

    def mean_nats(sign):
        moved = {n: (w + sign * nudge * direction[n]).astype("f4") for n, w in weights.items()}
        return predictors["none"].nats(moved, SUPPORT, SUPPORT).astype(np.float64).mean()

    assert expected > 1e-3
    assert expected == pytest.approx((mean_nats(1) - mean_nats(-1)) / (2 * nudge), rel=1e-2)


def test_steps_in_two_goes_are_steps_in_one(predictors):
    weights, adapt = random_weights(SPEC), predictors["none"].adapt
    at_once = adapt(weights, SUPPORT, RATE, 3)
    in_two = adapt(adapt(weights, SUPPORT, RATE, 1), SUPPORT, RATE, 2)
    for name, weight in at_once.items():
        np.testing.assert_array_equal(in_two[name], weight)


@pytest.mark.parametrize("condition", models.CONDITIONS)
def test_the_score_of_a_sample_is_the_product_of_what_it_was_drawn_with(predictors, condition):
    predictor = predictors[condition]
    weights = random_weights(predictor.spec)
    samples = predictor.draw(weights, SUPPORT, 5, stateless_seed(4))
    assert set(np.unique(samples.images)) <= {0, 1}
    assert len({image.numpy().tobytes() for image in samples.images}) == 5
    scores = predictor.nats(weights, SUPPORT, samples.images)
    np.testing.assert_allclose(scores, samples.nats, rtol=1e-4)
    again = predictor.draw(weights, SUPPORT, 5, stateless_seed(4))
    np.testing.assert_array_equal(again.images, samples.images)


def test_samples_come_as_often_as_their_probabilities_say():
    spec = models.NetworkSpec(2, planes=4, num_layers=1)
    predictor, weights = Predictor(spec), random_weights(spec)
    weights["last/bias"] *= 5
    every = models.images_of(tf.reshape(tf.range(16), [16, 1, 1]))
    likely = np.exp(-4.0 * predictor.nats(weights, every[:1], every))
    drawn = predictor.draw(weights, every[:1], 4_000, stateless_seed(1)).images
    counts = np.bincount(models.patterns(drawn).numpy().ravel(), minlength=16)
    assert likely.max() > 3 / 16
    # Five standard deviations of each count.
    margin = 5 * np.sqrt(4_000 * likely * (1 - likely)) + 1
    assert (np.abs(counts - 4_000 * likely) < margin).all()
