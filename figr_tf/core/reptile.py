"""The outer loop: one meta-step of Reptile (Nichol et al. 2018; FIGR's Algorithm 1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import console
from figr_tf.core.optimizers import replica_variable
from figr_tf.core.system import Adapted, System, Weights
from figr_tf.core.weights import next_average, subtract


class MetaGradient(NamedTuple):
    """What the tasks of a meta-batch say together: means over them.

    Attributes:
        gradient: Φ − W, which the outer optimisers descend.
        carried_change: of the carried state, by one task.
        metrics: float32 [] by name.
    """

    gradient: Weights
    carried_change: tuple[tf.Tensor, ...]
    metrics: dict[str, tf.Tensor]


class MetaStepMetrics(NamedTuple):
    """Of one meta-step: scalars by name, and whether it was taken rather than skipped."""

    values: dict[str, tf.Tensor]
    finite: tf.Tensor


def meta_gradient(
    adapt_to: Callable[[int | tf.Tensor], Adapted],
    meta_weights: Weights,
    carried: tuple[tf.Tensor, ...],
    metric_names: Sequence[str],
    num_tasks: int,
) -> MetaGradient:
    """Adapts copies of Φ to each task of a meta-batch and averages what comes of it.

    Args:
        adapt_to: from a task's number, 0 … num_tasks − 1, to what its inner loop gives back.
        meta_weights: Φ by group.
        carried: the carried state before the meta-step.
        metric_names: of the metrics that `adapt_to` returns.
        num_tasks: of the meta-batch, or of this replica's share of it.

    Returns:
        Means over the tasks.
    """

    def of_one_task(task):
        weights, carried_after, metrics = adapt_to(task)
        return MetaGradient(
            subtract(meta_weights, weights), subtract(carried_after, carried), metrics
        )

    # The paper's setting needs no loop: fewer operations, and a graph that is built sooner.
    if num_tasks == 1:
        return of_one_task(0)
    # A running sum, so that memory does not grow with the meta-batch but with the tasks at once.
    no_weights, no_change = tf.nest.map_structure(tf.zeros_like, (meta_weights, carried))
    start = MetaGradient(no_weights, no_change, {name: tf.constant(0.0) for name in metric_names})
    _, total = tf.while_loop(
        lambda task, _: task < num_tasks,
        lambda task, total: (task + 1, tf.nest.map_structure(tf.add, total, of_one_task(task))),
        (tf.constant(0), start),
        parallel_iterations=_tasks_at_once(num_tasks),
    )
    return tf.nest.map_structure(lambda x: x / num_tasks, total)


def _tasks_at_once(num_tasks: int) -> int:
    """How many tasks may run side by side; they are summed in order, so no bit depends on it."""
    # CPU cores share tasks. A GPU takes one operation after another anyway, and each further task
    # would only need memory there.
    return 1 if tf.config.list_logical_devices("GPU") else min(num_tasks, console.num_cores())


class Reptile(tf.Module):
    """The state of meta-training: Φ, the outer optimisers, the carried state and the counters.

    Attributes:
        meta_weights: Φ by group: the system's own variables.
        average: an exponential average of Φ by group; empty unless asked for.
        optimizers: one for each group.
        carried: the system's carried state.
        meta_step: int64 variable, meta-steps taken, skipped ones included.
        num_skipped: int64 variable, meta-steps whose meta-gradient was not finite.
        num_skipped_in_a_row: int64 variable, those since the last good one.
    """

    def __init__(self, system: System, average_decay: float = 0.0):
        """average_decay: of the average of Φ from one meta-step to the next; 0 keeps none."""
        super().__init__()
        self.meta_weights = {group: list(v) for group, v in system.meta_weights.items()}
        self.carried = list(system.carried)
        self.optimizers = {group: system.make_optimizer() for group in self.meta_weights}
        for group, variables in self.meta_weights.items():
            # Now, in the replicas' scope: a compiled meta-step may not make variables.
            self.optimizers[group].build(variables)
        self._average_decay = average_decay
        self.average: Mapping[str, list[tf.Variable]] = {}
        if average_decay:
            self.average = {
                group: [tf.Variable(v.read_value(), trainable=False) for v in variables]
                for group, variables in self.meta_weights.items()
            }
        # Known beforehand, since several meta-steps in one graph stack what each returns.
        self._metric_names = [
            *(f"{group}_gradient_norm" for group in self.meta_weights),
            *system.metric_labels,
        ]
        self.meta_step, self.num_skipped, self.num_skipped_in_a_row = (
            replica_variable(0, tf.int64, name)
            for name in ("meta_step", "num_skipped", "num_skipped_in_a_row")
        )

    def read(self) -> tuple[Weights, tuple[tf.Tensor, ...]]:
        """Φ and the carried state as they are now."""
        weights = {g: tuple(v.read_value() for v in vs) for g, vs in self.meta_weights.items()}
        return weights, tuple(v.read_value() for v in self.carried)

    def metric_dtypes(self) -> MetaStepMetrics:
        """Nested like what `descend` returns."""
        return MetaStepMetrics(dict.fromkeys(self._metric_names, tf.float32), tf.bool)

    def num_meta_steps_taken(self) -> int:
        """Meta-steps taken so far, outside of a graph."""
        return int(self.meta_step.numpy())

    def set_learning_rate(self, value: tf.Tensor) -> None:
        """Of all groups, from the next meta-step on."""
        for optimizer in self.optimizers.values():
            optimizer.learning_rate.assign(value)

    def descend(self, means: MetaGradient, num_tasks: int) -> MetaStepMetrics:
        """Ends a meta-step: every optimiser takes one step down its part of the meta-gradient.

        A meta-gradient or a change of the carried state that is not finite is not applied: Φ, the
        optimisers and the carried state keep every bit, since a single NaN in Adam's moments would
        poison all later steps.

        Args:
            num_tasks: in the whole meta-batch; each adds its own change to the carried state.
        """
        norms = {
            f"{group}_gradient_norm": tf.linalg.global_norm(means.gradient[group])
            for group in self.meta_weights
        }
        # One sum over everything: NaN and infinity survive addition. A carried state may overflow
        # where the weights do not.
        change = [tf.reduce_sum(part) for part in means.carried_change]
        finite = tf.math.is_finite(tf.add_n([*norms.values(), *change]))
        tf.cond(finite, lambda: self._apply(means, num_tasks), lambda: None)
        self._count(finite)
        return MetaStepMetrics(norms | means.metrics, finite)

    def _apply(self, means: MetaGradient, num_tasks: int) -> None:
        for group, variables in self.meta_weights.items():
            self.optimizers[group].apply(means.gradient[group], variables)
        for variable, change in zip(self.carried, means.carried_change, strict=True):
            # A sum over tasks and not a mean: each changed the state as if it were alone.
            _assign(variable, variable.read_value() + num_tasks * change)
        if self._average_decay:
            self._move_average()

    def _move_average(self) -> None:
        step = self.meta_step.read_value()
        for group, variables in self.meta_weights.items():
            then, now = ([v.read_value() for v in vs] for vs in (self.average[group], variables))
            moved = next_average(then, now, self._average_decay, step)
            for average, value in zip(self.average[group], moved, strict=True):
                _assign(average, value)

    def _count(self, finite: tf.Tensor) -> None:
        skipped = tf.cast(tf.logical_not(finite), tf.int64)
        self.meta_step.assign_add(1)
        self.num_skipped.assign_add(skipped)
        # Back to 0 by the product when the meta-step was taken.
        self.num_skipped_in_a_row.assign((self.num_skipped_in_a_row + 1) * skipped)


def _assign(variable: tf.Variable, value: tf.Tensor) -> None:
    # By handle, since a strategy's variables refuse assignments in one replica.
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
