"""The inner loop of the classifier: some steps of Adam with β1 = 0, or of SGD, on one task."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from figr_tf.classifier import networks
from figr_tf.core import checks, inner_loop

OPTIMIZERS = ("adam", "sgd")
BETA_2 = 0.999
_EPSILON = 1e-8  # Both are the defaults of TensorFlow 1, which the published runs have.


@dataclasses.dataclass(frozen=True)
class InnerLoop:
    """How a task is learned.

    Attributes:
        optimizer: "adam" is Adam with β1 = 0, whose second moments go on from task to task.
        learning_rate: of a step down the sum, not the mean, of the batch's losses.
        batch_size: images of a step.
        num_steps: K.
        weight_decay: what all weights are multiplied by before each step.

    Raises:
        ValueError: values that cannot work.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 5
    num_steps: int = 20
    weight_decay: float = 1.0

    def __post_init__(self):
        checks.one_of(self, optimizer=OPTIMIZERS)
        checks.at_least(self, 1, "batch_size", "num_steps")
        checks.at_least(self, 0, "learning_rate")
        if not 0 < self.weight_decay <= 1:
            raise ValueError(f"weight_decay must be in (0, 1]. Received: {self.weight_decay}")


class State(NamedTuple):
    """Of an inner loop.

    Attributes:
        weights: [P], see `networks.pack`.
        carried: Adam's second moments [P] and the number of steps behind them, float32 [], which
            counts up to 2²⁴: long before that it makes no difference. Empty with SGD.
        loss: [], mean of the last batch's, before its step.
    """

    weights: tf.Tensor
    carried: tuple[tf.Tensor, ...]
    loss: tf.Tensor


class Learner(NamedTuple):
    """A network with its inner loop.

    Attributes:
        shapes: of the network's weights.
    """

    architecture: str
    shapes: Sequence[Sequence[int]]
    inner: InnerLoop

    def start_spec(self) -> State:
        """Shapes and types of a state."""
        vector = tf.TensorSpec([sum(map(math.prod, self.shapes))], tf.float32)
        scalar = tf.TensorSpec([], tf.float32)
        carried = (vector, scalar) if self.inner.optimizer == "adam" else ()
        return State(vector, carried, scalar)

    def logits(self, weights: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Weights [P] and images [B, S, S, C] → [B, classes]."""
        layers = networks.unpack(weights, self.shapes)
        return networks.logits(self.architecture, layers, images)

    def inner_step(self, state: State, images: tf.Tensor, labels: tf.Tensor) -> State:
        """One step on a batch: images [B, S, S, C], labels int32 [B]."""
        weights, carried, _ = state
        # Left out where it does nothing, so that such a run has no product for it in its graph.
        if self.inner.weight_decay != 1:
            weights *= self.inner.weight_decay
        with tf.GradientTape() as tape:
            tape.watch(weights)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels,
                self.logits(weights, images),
            )
            # Their sum, as the published code descends: it hands TensorFlow the losses one by one.
            # Adam's moments remember the scale, so a batch of another size takes other steps.
            loss = tf.reduce_sum(losses)
        change, carried = self._change(tape.gradient(loss, weights), carried)
        return State(weights + change, carried, tf.reduce_mean(losses))

    def _change(
        self,
        gradient: tf.Tensor,
        carried: tuple[tf.Tensor, ...],
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        rate = self.inner.learning_rate
        if self.inner.optimizer == "sgd":
            return -rate * gradient, carried
        moments, count = carried
        # Above 2²⁴ float32 does not know every whole number, and adding 1 would change nothing.
        count = tf.minimum(count + 1.0, 2.0**24)
        # Towards the new square: the same as β2·v + (1 − β2)·g², with one product less.
        moments += (1.0 - BETA_2) * (tf.square(gradient) - moments)
        # Kingma & Ba 2015, end of section 2, without a first moment: with β1 = 0 that is the
        # gradient itself.
        rate *= tf.sqrt(1.0 - tf.pow(BETA_2, count))
        return -rate * gradient / (tf.sqrt(moments) + _EPSILON), (moments, count)

    def adapt(
        self,
        state: State,
        images: tf.Tensor,
        labels: tf.Tensor,
        batches: tf.Tensor,
    ) -> State:
        """Steps on minibatches of a task, one after another.

        Args:
            images: [N, S, S, C]. labels: int32 [N].
            batches: int32 [K, B], which images make up each batch.
        """

        def one_step(k: tf.Tensor, state: State) -> State:
            batch = tf.gather(batches, k)
            return self.inner_step(state, tf.gather(images, batch), tf.gather(labels, batch))

        return inner_loop.repeat(one_step, state, tf.shape(batches)[0])
