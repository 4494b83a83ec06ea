"""Nearest prototypes and cosine matching, on features that one can check by hand."""

import numpy as np

from figr_tf.classifier import baselines
from figr_tf.classifier.episodes import Episode

SUPPORT = np.array([[[1.0, 0.0], [3.0, 0.0]], [[0.0, 1.0], [0.0, 9.0]]])


def test_the_nearest_mean_wins():
    assert baselines.prototypes(SUPPORT, np.array([[2.0, 2.0], [0.0, 4.0]])).tolist() == [0, 1]


def test_matching_minds_the_angle_alone():
    assert baselines.matching(SUPPORT, np.array([[0.1, 0.01], [5.0, 9.0]])).tolist() == [0, 1]


def test_right_answers_are_counted_task_by_task():
    features = np.array([[0.0], [1.0], [0.1], [0.9]])
    right = Episode(np.array([[0], [1]]), np.array([2, 3]))
    swapped = Episode(np.array([[0], [1]]), np.array([3, 2]))
    counts = baselines.num_right(baselines.prototypes, features, [right, swapped])
    assert counts.tolist() == [2, 0]
