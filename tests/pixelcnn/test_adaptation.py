"""The inner loop and the samples: against finite differences, and against the scores."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core.random import stateless_seed
from figr_tf.pixelcnn import blocks, drawings, networks
from figr_tf.pixelcnn.prediction import Predictor
from tests.pixelcnn.conftest import SPEC, random_drawings, random_weights

SUPPORT = random_drawings(3)
RATE = 0.1
SEED = stateless_seed(7)


def test_no_inner_step_returns_the_meta_weights_to_the_bit(predictors):
    weights = random_weights(SPEC)
    adapted = predictors["none"].adapt(weights, SUPPORT, RATE, SEED, range(0))
    for name, weight in weights.items():
        np.testing.assert_array_equal(adapted[name], weight)


def test_a_step_goes_down_the_slope_of_the_supports_nats(predictors):
    weights, rng = random_weights(SPEC), np.random.default_rng(1)
    stepped = predictors["none"].adapt(weights, SUPPORT, RATE, SEED, range(1))
    slope = {
        name: (w - stepped[name].numpy()) / (RATE * networks.step_scale(name))
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


@pytest.fixture(scope="module")
def moving():
    """Its steps move the drawings by up to two pixels."""
    return Predictor(SPEC, max_shift=2)


def _assert_equal(ours, theirs):
    for name, weight in ours.items():
        np.testing.assert_array_equal(theirs[name], weight)


def test_steps_in_two_goes_are_steps_in_one(moving):
    weights = random_weights(SPEC)
    at_once = moving.adapt(weights, SUPPORT, RATE, SEED, range(3))
    in_two = moving.adapt(weights, SUPPORT, RATE, SEED, range(1))
    in_two = moving.adapt(in_two, SUPPORT, RATE, SEED, range(1, 3))
    _assert_equal(at_once, in_two)


def test_a_step_that_moves_is_a_plain_step_on_moved_drawings_anew_each_time(predictors, moving):
    weights = random_weights(SPEC)
    places = []
    for k in range(2):
        stepped = moving.adapt(weights, SUPPORT, RATE, SEED, range(k, k + 1))
        moved = drawings.moved(SUPPORT, 2, tf.random.fold_in(SEED, k, alg="philox"))
        _assert_equal(predictors["none"].adapt(weights, moved, RATE, SEED, range(1)), stepped)
        places.append(moved)
    assert (places[0] != places[1]).numpy().any()


def test_a_moved_drawing_is_the_same_one_elsewhere_and_all_places_come_up():
    drawing = random_drawings(1, size=5)[0]
    room = np.pad(drawing, 1)
    places = [room[row : row + 5, column : column + 5] for row in range(3) for column in range(3)]
    moved = drawings.moved(tf.repeat(drawing[np.newaxis], 200, 0), 1, SEED).numpy()
    found = [[np.array_equal(image, place) for place in places] for image in moved]
    assert (np.sum(found, 1) == 1).all()
    # A ninth of 200 each; four standard deviations are 18.
    assert (np.abs(np.sum(found, 0) - 200 / 9) < 18).all()


@pytest.mark.parametrize("condition", networks.CONDITIONS)
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
    spec = networks.NetworkSpec(2, planes=4, num_layers=1)
    predictor, weights = Predictor(spec), random_weights(spec)
    weights["last/bias"] *= 5
    every = blocks.images_of(tf.reshape(tf.range(16), [16, 1, 1]))
    likely = np.exp(-4.0 * predictor.nats(weights, every[:1], every))
    drawn = predictor.draw(weights, every[:1], 4_000, stateless_seed(1)).images
    counts = np.bincount(blocks.patterns(drawn).numpy().ravel(), minlength=16)
    assert likely.max() > 3 / 16
    # Five standard deviations of each count.
    margin = 5 * np.sqrt(4_000 * likely * (1 - likely)) + 1
    assert (np.abs(counts - 4_000 * likely) < margin).all()
