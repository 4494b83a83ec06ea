"""Answers, transductive and not, and how sure an accuracy is."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.classifier import episodes, networks
from figr_tf.classifier.prediction import Accuracy, Predictor, num_right
from figr_tf.classifier.system import initial_variables
from figr_tf.core.random import stateless_seed
from tests.classifier.conftest import SETTINGS


@pytest.fixture(scope="module")
def start():
    return initial_variables(SETTINGS).read()


@pytest.fixture(scope="module")
def predictor():
    return Predictor(SETTINGS.held_out_learner(), SETTINGS.network.image_shape)


@pytest.fixture(scope="module")
def task(dataset):
    images = dataset.data.images.reshape(10, 6, 14, 14, 1)
    return images[6:9, :2], images[6:9, 2]


def _answers(predictor, start, support, queries):
    return predictor(start, support, queries, stateless_seed(0))


def test_an_answer_of_nan_is_never_right():
    certain = np.eye(3, dtype=np.float32)
    assert num_right(certain) == 3
    assert num_right(certain * np.array([np.nan, 1, 1])) == 0
    certain[0] = np.nan
    assert num_right(certain) == 2


def test_a_query_by_itself_is_answered_alike_whatever_the_other_queries_are(predictor, start, task):
    support, queries = task
    both = _answers(predictor, start, support, queries)
    other = _answers(predictor, start, support, np.stack([queries[0], 255 - queries[1]]))
    np.testing.assert_allclose(both.plain[0], other.plain[0], atol=1e-5)
    assert np.abs(both.transductive[0] - other.transductive[0]).max() > 1e-4


def test_answers_are_those_of_forward_passes_by_hand(predictor, start, task):
    """Plain: a query with the support. Transductive: all queries, without the support."""
    support, queries = task
    answers = _answers(predictor, start, support, queries)
    flat, labels = support.reshape(-1, 14, 14, 1), tf.constant([0, 0, 1, 1, 2, 2])
    images = tf.constant(flat, tf.float32) / 255
    # Four steps of three, as the predictor draws them.
    batches = episodes.minibatches(6, 3, 4, stateless_seed(0))
    adapted = predictor.learner.adapt(start, images, labels, batches).weights

    def by_hand(weights, batch):
        layers = networks.unpack(weights, SETTINGS.network.shapes())
        return tf.nn.softmax(networks.logits("strided", layers, tf.cast(batch, tf.float32) / 255))

    for i, query in enumerate(queries):
        batch = np.concatenate([flat, query[None]])
        for answer, weights in ((answers.unadapted, start.weights), (answers.plain, adapted)):
            np.testing.assert_allclose(answer[i], by_hand(weights, batch)[-1], atol=1e-5)
    np.testing.assert_allclose(answers.transductive, by_hand(adapted, queries), atol=1e-5)
    assert np.abs(answers.plain - answers.unadapted).max() > 1e-3


def test_the_next_task_starts_from_the_same_moments(predictor, start, task):
    first = _answers(predictor, start, *task)
    _answers(predictor, start, task[0][::-1].copy(), task[1])
    for now, then in zip(_answers(predictor, start, *task), first, strict=True):
        np.testing.assert_array_equal(now, then)


def test_an_interval_is_that_of_the_mean_over_tasks():
    accuracy = Accuracy.of([5, 3, 4, 4], num_classes=5)
    assert accuracy.mean == pytest.approx(80)
    assert accuracy.margin == pytest.approx(3.182 * np.std([100, 60, 80, 80], ddof=1) / 2, rel=2e-3)
    assert str(accuracy).startswith("80.00 ± 25.9")
