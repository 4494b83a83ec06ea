"""What a classifier answers about queries, once it has adapted to a support set."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from figr_common import student
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
    """How many queries get their class: [Q, classes], the i-th query being of class i.

    An answer with NaN, of a diverged adaptation, is never right.
    """
    right = answers.argmax(-1) == np.arange(len(answers))
    return int(np.sum(right & np.isfinite(answers).all(-1)))


class Accuracy(NamedTuple):
    """In per cent.

    Attributes:
        mean: over tasks. margin: half the width of its 95 % interval; of a mean over runs, half
            their range.
    """

    mean: float
    margin: float

    @classmethod
    def of(cls, right: np.ndarray | list[int], num_classes: int) -> "Accuracy":
        """From the number of right answers in each of at least two tasks."""
        each = 100.0 * np.asarray(right) / num_classes
        # Over tasks of these held-out classes. Queries of one task are not independent, and of
        # other classes the interval says nothing.
        return cls(float(each.mean()), student.margin(each))

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.margin:.2f}"


def adapted_weights(
    learner: Learner,
    start: State,
    support: tf.Tensor,
    labels: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Weights [P] after the inner steps on a support set; the optimiser's state is not kept.

    Args:
        start: Φ and the second moments as training left them.
        support: [N, S, S, C] in [0, 1], in an order that decides the minibatches.
        labels: int32 [N].
        seed: int32 [2], of the minibatches.
    """
    num_images, batch_size = tf.shape(support)[0], learner.inner.batch_size
    batches = episodes.minibatches(num_images, batch_size, num_inner_steps, seed)
    return learner.adapt(start, support, labels, batches).weights


def probabilities(
    learner: Learner,
    weights: tf.Tensor,
    support: tf.Tensor,
    queries: tf.Tensor,
) -> tf.Tensor:
    """Each query in a forward pass of its own, with the support: [Q, S, S, C] → [Q, classes]."""

    # With the support, since batch norm takes its statistics from the batch: of one image alone
    # they would say nothing about the task.
    def of_one(query: tf.Tensor) -> tf.Tensor:
        return learner.logits(weights, tf.concat([support, query[tf.newaxis]], 0))[-1]

    return tf.nn.softmax(
        # One query after another, so that memory does not grow with their number. All in one batch
        # would be transductive: batch norm would mix them.
        tf.map_fn(of_one, queries, fn_output_signature=tf.float32, parallel_iterations=1)
    )


def among(answers: tf.Tensor, num_classes: int | tf.Tensor) -> tf.Tensor:
    """Probabilities [Q, classes] among the first few classes alone, which add up to 1 again."""
    # The same as leaving the other outputs out of the softmax.
    given = answers[:, :num_classes]
    return given / tf.reduce_sum(given, -1, keepdims=True)


class Predictor:
    """Adapts to one support set after another, each time from the same start.

    Attributes:
        learner: with the inner loop that it adapts with.
    """

    def __init__(self, learner: Learner, image_shape: tuple[int, int, int]):
        """image_shape: S, S, C."""
        self.learner = learner
        images = tf.TensorSpec([None, *image_shape], tf.float32)
        labels, steps = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        seed = tf.TensorSpec([2], tf.int32)
        # One graph for any number of classes, shots, queries and inner steps. No autograph: there
        # is nothing for it to convert.
        self._answer = tf.function(
            self._answer_all,
            [learner.start_spec(), images, labels, images, steps, seed],
            autograph=False,
        )

    def __call__(
        self,
        start: State,
        support: np.ndarray,
        queries: np.ndarray,
        seed: tf.Tensor,
        num_inner_steps: int | None = None,
    ) -> Answers:
        """One task.

        Args:
            start: see `adapted_weights`.
            support: uint8 [classes, shots, S, S, C], dark ink.
            queries: uint8 [Q, S, S, C].
            seed: int32 [2], of the order in which the steps see the support.
            num_inner_steps: None: as many as the learner's.
        """
        if num_inner_steps is None:
            num_inner_steps = self.learner.inner.num_steps
        images, labels = episodes.flat(support)
        # Outside of the graph, where nothing turns the division into a product that rounds.
        support, queries = episodes.unit_range(images), episodes.unit_range(queries)
        return self._answer(start, support, labels, queries, num_inner_steps, seed)

    def _answer_all(
        self,
        start: State,
        support: tf.Tensor,
        labels: tf.Tensor,
        queries: tf.Tensor,
        num_inner_steps: tf.Tensor,
        seed: tf.Tensor,
    ) -> Answers:
        learner = self.learner
        weights = adapted_weights(learner, start, support, labels, num_inner_steps, seed)
        return Answers(
            probabilities(learner, weights, support, queries),
            tf.nn.softmax(learner.logits(weights, queries)),
            # The control: what the network knows before it has seen the support's labels.
            probabilities(learner, start.weights, support, queries),
        )
