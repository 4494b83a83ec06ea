"""What the loop of meta-steps asks of the devices that it runs on, answered for one device.

Several devices answer the same questions in `figr_tf.core.distributed.strategy`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from figr_tf.core.distributed.cluster import Cluster
from figr_tf.core.distributed.supervision import Supervisor
from figr_tf.core.errors import UserError


class ReplicaStep(NamedTuple):
    """One replica's part of a meta-step.

    Attributes:
        take: from what was placed on the replica's device to scalars; it changes variables.
        dtypes: of the scalars, nested like them.
        num_tasks: how many tasks it adapts to.
    """

    take: Callable[[Any], Any]
    dtypes: Any
    num_tasks: int


def repeat_step(take: Callable[[], Any], dtypes: Any, times: tf.Tensor, most: int) -> Any:
    """Calls `take` that often within a graph.

    Returns its results stacked to [most], of which the first `times` count.
    """
    # Always of the same length: XLA has to know it before it compiles.
    rows = tf.nest.map_structure(
        lambda dtype: tf.TensorArray(dtype, most, element_shape=[]), dtypes
    )

    def body(i, rows):
        return i + 1, tf.nest.map_structure(lambda row, value: row.write(i, value), rows, take())

    # In order: each meta-step starts from the weights of the one before.
    _, rows = tf.while_loop(
        lambda i, _: i < times, body, (tf.constant(0), rows), parallel_iterations=1
    )
    return tf.nest.map_structure(lambda row: row.stack(), rows)


def first_rows(times: int, rows: Any) -> Any:
    """What the first `times` steps returned, of results that are stacked to more."""
    return tf.nest.map_structure(lambda row: row[:times], rows)


class OneDevice:
    """No replicas: all that the loop asks of a distribution, answered without one.

    Attributes:
        num_replicas: devices that share a meta-batch.
        supervisor: knows the other workers; there are none here.
    """

    num_replicas = 1

    def __init__(self, supervisor: Supervisor | None = None):
        self.supervisor = supervisor or Supervisor(Cluster(), 0.0)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.supervisor.cluster.is_chief

    def scope(self) -> contextlib.AbstractContextManager:
        """Where the variables of a run are made."""
        return contextlib.nullcontext()

    def share(self, meta_batch_size: int) -> int:
        """How many tasks of a meta-batch fall to each replica.

        Raises:
            UserError: they cannot be shared evenly.
        """
        share, rest = divmod(meta_batch_size, self.num_replicas)
        if rest:
            raise UserError(
                f"--meta_batch_size={meta_batch_size} is not a multiple of the"
                f" {self.num_replicas} replicas, so the tasks cannot be shared evenly."
            )
        return share

    def first_task(self, share: int) -> int | tf.Tensor:
        """Number within the meta-batch of this replica's first task; for a replica's step."""
        return 0

    def place(self, value: np.ndarray) -> Any:
        """A copy of a constant on the device of each replica."""
        return tf.constant(value)

    def local(self, value: Any) -> Any:
        """What this process' first replica has of a nested value that all of them have."""
        return value

    def compile_meta_steps(
        self, replica_step: ReplicaStep, placed: Any, most: int, jit_compile: bool
    ) -> Callable[[int], Any]:
        """Compiles a call that takes up to `most` steps on every replica, each with its constants.

        Returns:
            A function of how many times; it returns the first replica's results, scalars stacked to
            [times].
        """
        loop = tf.function(
            lambda times: repeat_step(
                lambda: replica_step.take(placed), replica_step.dtypes, times, most
            ),
            autograph=False,
            jit_compile=jit_compile,
        )
        # As a tensor: each Python number would get a graph of its own.
        return lambda times: first_rows(times, loop(tf.constant(times)))

    def compile_share(self, gradient: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
        """Compiles what a replica does alone, if it has to be apart from the rest of its step."""
        return gradient

    def mean(self, values: Any) -> Any:
        """The mean over all replicas of nested float tensors, for use in a replica's step, once."""
        return values

    def broadcast(self, variables: list[tf.Variable]) -> None:
        """Gives the chief's values to all workers; to be called by all, within `waiting_for`."""

    def is_stopping(self, signals: list[int]) -> bool:
        """Whether to stop after this meta-step; all workers answer alike.

        signals: those that this worker has received so far.
        """
        return bool(signals)

    @contextlib.contextmanager
    def waiting_for(self, what: str, times: int = 1) -> Iterator[None]:
        """Around whatever waits for other workers; ends all if it takes too long or one is lost.

        times: how many times as long it may take as one task.
        """
        yield
