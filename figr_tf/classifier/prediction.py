"""What a classifier answers about queries, once it has adapted to a support set."""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from figr_tf.classifier import episodes
from figr_tf.classifier.adaptation import Learner, State


class Answers(NamedTuple):
    """Probabilities of the classes for each query, float32 [Q, classes] each.

    Attributes:
        plain: each query in a forward pass of its own, with the support.
        transductive: all queries in one forward pass, without the support: batch norm then tells
            each of them something about the others.
        unadapted: as plain, from Φ before any step.
    """

    plain: tf.Tensor
    transductive: tf.Tensor
    unadapted: tf.Tensor


def num_right(answers: np.ndarray) -> int:
    """How many queries get their class: [Q, classes], the i-th query being of class i."""
    return int(np.sum(answers.argmax(-1) == np.arange(len(answers))))


class Accuracy(NamedTuple):
    """In per cent.

    Attributes:
        mean: over tasks. margin: half the width of its 95 % interval.
    """

    mean: float
    margin: float

    @classmethod
    def of(cls, right: np.ndarray | list[int], num_classes: int) -> "Accuracy":
        """From the number of right answers in each of at least two tasks."""
        each = 100.0 * np.asarray(right) / num_classes
        return cls(float(each.mean()), float(1.96 * each.std(ddof=1) / math.sqrt(len(each))))

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.margin:.2f}"


def answer(
    learner: Learner,
    start: State,
    support: tf.Tensor,
    labels: tf.Tensor,
    queries: tf.Tensor,
    batches: tf.Tensor,
) -> Answers:
    """Adapts to a support set and classifies the queries; the optimiser's state is not kept.

    Args:
        start: Φ and the second moments as training left them.
        support: [N, S, S, C] in [0, 1]. labels: int32 [N].
        queries: [Q, S, S, C].
        batches: int32 [K, B], see `Learner.adapt`.
    """
    adapted = learner.adapt(start, support, labels, batches).weights
    return Answers(
        tf.nn.softmax(_one_by_one(learner, adapted, support, queries)),
        tf.nn.softmax(learner.logits(adapted, queries)),
        tf.nn.softmax(_one_by_one(learner, start.weights, support, queries)),
    )


def _one_by_one(
    learner: Learner,
    weights: tf.Tensor,
    support: tf.Tensor,
    queries: tf.Tensor,
) -> tf.Tensor:
    """float32 [Q, classes]: logits of [support and that one query]'s last image."""

    def of_one(query: tf.Tensor) -> tf.Tensor:
        return learner.logits(weights, tf.concat([support, query[tf.newaxis]], 0))[-1]

    return tf.map_fn(of_one, queries, parallel_iterations=1)


class Predictor:
    """Adapts to one support set after another, each time from the same start.

    Attributes:
        learner: with the inner loop that it adapts with.
    """

    def __init__(self, learner: Learner):
        self.learner = learner
        # No autograph: there is nothing for it to convert. A graph for each number of classes and
        # shots, so that the minibatches have a shape.
        self._answer = tf.function(self._draw_and_answer, autograph=False)

    def __call__(
        self,
        start: State,
        support: np.ndarray,
        queries: np.ndarray,
        seed: tf.Tensor,
    ) -> Answers:
        """One task.

        Args:
            start: see `answer`.
            support: uint8 [classes, shots, S, S, C], dark ink.
            queries: uint8 [Q, S, S, C].
            seed: int32 [2], of the order in which the steps see the support.
        """
        return self._answer(start, tf.constant(support), tf.constant(queries), seed)

    def _draw_and_answer(
        self,
        start: State,
        support: tf.Tensor,
        queries: tf.Tensor,
        seed: tf.Tensor,
    ) -> Answers:
        images, labels = episodes.flat(episodes.unit_range(support))
        inner = self.learner.inner
        batches = episodes.minibatches(labels.shape[0], inner.batch_size, inner.num_steps, seed)
        queries = episodes.unit_range(queries)
        return answer(self.learner, start, images, labels, queries, batches)
