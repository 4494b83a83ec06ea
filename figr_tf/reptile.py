"""The outer loop of FIGR: Algorithm 1, one meta-step (Clouâtre & Demers 2019; Reptile: Nichol et al. 2018)."""

from typing import NamedTuple

import keras
import tensorflow as tf

from figr_tf.adaptation import InnerLosses, InnerStep, Weights, adapt_with_losses, side_by_side, task_mean
from figr_tf.networks import Networks


class MetaStepMetrics(NamedTuple):
    """Scalars of one meta-step: losses of the last inner step and meta-gradient norms, means over the meta-batch."""

    losses: InnerLosses
    generator_gradient_norm: tf.Tensor
    discriminator_gradient_norm: tf.Tensor
    finite: tf.Tensor


METRIC_DTYPES = MetaStepMetrics(InnerLosses(*[tf.float32] * 3), tf.float32, tf.float32, tf.bool)


def subtract(a: Weights, b: Weights) -> Weights:
    """a − b, weight by weight."""
    return tf.nest.map_structure(tf.subtract, a, b)


def meta_gradient(
    networks: Networks,
    meta_weights: Weights,
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    step: InnerStep,
    seeds: tf.Tensor,
    tasks_at_once: int = 1,
) -> tuple[Weights, InnerLosses]:
    """Φ − W, averaged over the tasks of a meta-batch: what Adam descends (Algorithm 1, last lines).

    With it come the losses of the last inner steps, means over the tasks.

    Args:
        support_images: [T, n, H, W, C] in [−1, 1], one support set per task.
        seeds: int32 [T, 2], one per task.
        tasks_at_once: how many are adapted side by side; divides T. More of them need more memory.
    """
    num_groups = support_images.shape[0] // tasks_at_once

    def one_group(g):
        # tf.slice, since XLA cannot tell the size of x[first : first + tasks_at_once].
        images, task_seeds = (
            tf.slice(x, [g * tasks_at_once] + [0] * (x.shape.rank - 1), [tasks_at_once, *x.shape[1:]])
            for x in (support_images, seeds)
        )
        start = side_by_side(meta_weights, tasks_at_once)
        adapted, inner_losses = adapt_with_losses(networks, start, images, num_inner_steps, step, task_seeds)
        difference = subtract(meta_weights, task_mean(adapted, tasks_at_once))
        return difference, tf.nest.map_structure(tf.reduce_mean, inner_losses)

    if num_groups == 1:
        return one_group(0)
    # A running sum, so that memory does not grow with the meta-batch.
    start = tf.nest.map_structure(tf.zeros_like, (meta_weights, InnerLosses(*[tf.constant(0.0)] * 3)))
    _, total = tf.while_loop(
        lambda g, _: g < num_groups,
        lambda g, total: (g + 1, tf.nest.map_structure(tf.add, total, one_group(g))),
        (tf.constant(0), start),
        parallel_iterations=1,
    )
    return tf.nest.map_structure(lambda x: x / num_groups, total)


def replica_variable(value: float, dtype: tf.DType, name: str | None = None) -> tf.Variable:
    """A scalar of which each replica of a strategy changes its own copy, all alike; otherwise like any variable."""
    return tf.Variable(
        value,
        dtype=dtype,
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


class Reptile(tf.Module):
    """The meta-weights Φ (the variables of `networks`), one optimiser for each network, and the counters.

    Attributes:
        meta_step: int64 variable, meta-steps taken, skipped ones included.
        num_skipped: int64 variable, meta-steps whose meta-gradient was not finite.
        num_skipped_in_a_row: int64 variable, those since the last good one.
    """

    def __init__(self, networks: Networks, generator_optimizer, discriminator_optimizer):
        super().__init__()
        self.networks = networks
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        for optimizer, model in self._pairs():
            optimizer.build(model.trainable_variables)
        self.meta_step, self.num_skipped, self.num_skipped_in_a_row = (
            replica_variable(0, tf.int64, name) for name in ("meta_step", "num_skipped", "num_skipped_in_a_row")
        )

    def _pairs(self):
        return (
            (self.generator_optimizer, self.networks.generator),
            (self.discriminator_optimizer, self.networks.discriminator),
        )

    def descend(self, gradient: Weights, inner_losses: InnerLosses) -> MetaStepMetrics:
        """Takes one optimiser step down a `meta_gradient` for each network, which ends a meta-step.

        A meta-gradient that is not finite is not applied: Φ and both optimisers keep every bit, since a single NaN
        in Adam's moments would poison all later steps.
        """
        norms = [tf.linalg.global_norm(part) for part in gradient]
        finite = tf.math.is_finite(norms[0] + norms[1])
        tf.cond(finite, lambda: self._apply(gradient), lambda: None)
        self._count(finite)
        return MetaStepMetrics(inner_losses, norms[0], norms[1], finite)

    def num_steps(self) -> int:
        """Meta-steps taken so far, outside of a graph."""
        return int(self.meta_step.numpy())

    def _apply(self, gradient: Weights) -> None:
        for (optimizer, model), part in zip(self._pairs(), gradient, strict=True):
            optimizer.apply(list(part), model.trainable_variables)

    def _count(self, finite: tf.Tensor) -> None:
        skipped = tf.cast(tf.logical_not(finite), tf.int64)
        self.meta_step.assign_add(1)
        self.num_skipped.assign_add(skipped)
        self.num_skipped_in_a_row.assign((self.num_skipped_in_a_row + 1) * skipped)

    def set_learning_rate(self, value: tf.Tensor) -> None:
        for optimizer, _ in self._pairs():
            optimizer.learning_rate.assign(value)


class Adam(tf.Module):
    """The paper's outer optimiser (Kingma & Ba 2015, end of section 2), one fused operation per weight.

    Keras' own takes forty, a third of the graph of a meta-step and of the time to build it. ε is PyTorch's 1e-8 and not
    Keras' 1e-7: with an inner rate of 1e-4 most of Φ − W lies between 1e-9 and 1e-6, where ten times the ε is a tenth
    of the step.
    """

    _BETAS = (0.9, 0.999)
    _EPSILON = 1e-8

    def __init__(self, learning_rate: float):
        super().__init__()
        self.learning_rate = replica_variable(learning_rate, tf.float32)
        self.iterations = replica_variable(0, tf.int64)
        self.moments: list[list[tf.Variable]] = []

    def build(self, variables: list[keras.Variable]) -> None:
        self.moments = [[tf.Variable(tf.zeros_like(v.value), trainable=False) for v in variables] for _ in self._BETAS]

    def apply(self, gradients: list[tf.Tensor], variables: list[keras.Variable]) -> None:
        """One step of descent: changes `variables` in place."""
        step = tf.cast(self.iterations.assign_add(1), tf.float32)
        (beta1, beta2), rate = self._BETAS, self.learning_rate.read_value()
        powers = tf.pow(beta1, step), tf.pow(beta2, step)
        for gradient, variable, m, v in zip(gradients, variables, *self.moments, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=self._EPSILON,
                grad=gradient,
            )
