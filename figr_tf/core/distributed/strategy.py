"""Meta-training on several devices and hosts; what is different there stands here alone.

Each replica adapts to its share of the meta-batch, the means of Φ − W are averaged over the
replicas by one all-reduce, and every replica takes the same outer step. Nothing else is exchanged.
Keras optimisers would sum what they are given over the replicas, and ours does not know of them: so
`mean` is the one place where the meta-gradient is averaged.

A strategy must be built before anything else is asked of TensorFlow.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended
from tensorflow.python.eager import context

from figr_common import proxies
from figr_tf.core.distributed.cluster import WorkerLost
from figr_tf.core.distributed.one_device import OneDevice, ReplicaStep, first_rows, repeat_step
from figr_tf.core.distributed.supervision import SILENCE, Supervisor
from figr_tf.core.optimizers import replica_variable

# Seconds. One task takes that long only if some worker is stuck: with the first the graph is built
# and compiled, and a chief that draws pictures lets the others wait.
_TASK_DEADLINE = 900.0
_OF_LOST_WORKERS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
# Seconds for a closed connection, the clearer cause, to be noticed after a collective has failed.
_GRACE = 5.0


class Replicated(OneDevice):
    """The replicas of a tf.distribute strategy: of this process and, with TF_CONFIG, of others."""

    def __init__(self, strategy: tf.distribute.Strategy, supervisor: Supervisor):
        super().__init__(supervisor)
        self._strategy = strategy
        self.num_replicas = strategy.num_replicas_in_sync
        with strategy.scope():
            # A wish to stop travels with the means, so that all workers learn of it after the same
            # meta-step.
            self._wish, self._wishes = (replica_variable(0.0, tf.float32) for _ in range(2))

    def scope(self) -> contextlib.AbstractContextManager:
        """Where variables get a copy on every replica."""
        return self._strategy.scope()

    def first_task(self, share: int) -> tf.Tensor:
        """Of this replica, within a replica's step."""
        return share * tf.cast(_replica().replica_id_in_sync_group, tf.int32)

    def place(self, value: np.ndarray) -> Any:
        """A copy on the device of each replica."""
        devices = self._strategy.extended.worker_devices

        def copy_to_device(context):
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tf.constant(value)

        return self._strategy.experimental_distribute_values_from_function(copy_to_device)

    def local(self, value: Any) -> Any:
        """The copy, or the result, of this process' first replica."""
        return tf.nest.map_structure(
            lambda x: self._strategy.experimental_local_results(x)[0], value
        )

    def compile_meta_steps(
        self, replica_step: ReplicaStep, placed: Any, most: int, jit_compile: bool
    ) -> Callable[[int], Any]:
        """See `OneDevice.compile_meta_steps`; all replicas take each step together."""

        def take() -> Any:
            return self.local(self._strategy.run(replica_step.take, (placed,)))

        # Not jit-compiled as a whole: XLA cannot compile an all-reduce on CPUs.
        loop = tf.function(
            lambda times: repeat_step(take, replica_step.dtypes, times, most), autograph=False
        )

        def take_meta_steps(times: int) -> Any:
            with self.waiting_for(
                f"{times} × {replica_step.num_tasks} tasks", times * replica_step.num_tasks
            ):
                return first_rows(times, loop(tf.constant(times)))

        return take_meta_steps

    def compile_share(self, gradient: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
        """A replica's own part may be compiled, the all-reduce between them may not."""
        return tf.function(gradient, autograph=False, jit_compile=jit_compile)

    def mean(self, values: Any) -> Any:
        """By one all-reduce, in which a wish to stop travels along."""
        flat = [*tf.nest.flatten(values), self._wish.read_value()]
        *means, wishes = _replica().all_reduce(tf.distribute.ReduceOp.MEAN, flat)
        self._wishes.assign(wishes)
        return tf.nest.pack_sequence_as(values, means)

    def broadcast(self, variables: list[tf.Variable]) -> None:
        """A sum in which only the chief has other values than 0."""
        if self.supervisor.cluster.size == 1:
            return

        def copy_from_chief() -> None:
            # Only worker 0 has restored a checkpoint, and its first replica is the first of all.
            is_source = tf.equal(_replica().replica_id_in_sync_group, 0)
            for dtype in dict.fromkeys(variable.dtype for variable in variables):
                group = [variable for variable in variables if variable.dtype == dtype]
                values = [v.read_value() for v in group]
                values = [tf.where(is_source, value, tf.zeros_like(value)) for value in values]
                values = _replica().all_reduce(tf.distribute.ReduceOp.SUM, values)
                for variable, value in zip(group, values, strict=True):
                    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

        tf.function(lambda: self._strategy.run(copy_from_chief), autograph=False)()

    def is_stopping(self, signals: list[int]) -> bool:
        """What the last mean brought: whether any worker wished to stop before it."""
        if self.supervisor.cluster.size == 1:
            return super().is_stopping(signals)
        if signals:
            self._wish.assign(1.0)
        return bool(self._wishes.numpy() > 0)

    @contextlib.contextmanager
    def waiting_for(self, what: str, times: int = 1) -> Iterator[None]:
        """A failed collective becomes `WorkerLost`, or is left to the clearer cause."""
        seconds = _TASK_DEADLINE * times
        sentence = (
            f"waited {seconds:.0f} s for {what}; some worker is stuck or cannot reach another's"
            " address"
        )
        try:
            with self.supervisor.within(seconds, sentence):
                yield
        except tf.errors.OpError as error:
            is_loss = self.supervisor.cluster.size > 1 and isinstance(error, _OF_LOST_WORKERS)
            self.supervisor.wait_for_the_cause(SILENCE + _GRACE if is_loss else _GRACE)
            if not is_loss:
                raise
            raise WorkerLost(
                f"TensorFlow lost touch with another worker: {' '.join(error.message.split())}"
            ) from error


def _replica() -> tf.distribute.ReplicaContext:
    return tf.distribute.get_replica_context()


def build(mode: str, supervisor: Supervisor) -> OneDevice:
    """The distribution that --distribute asks for.

    "mirrored" has a replica on every GPU of this host; without one, on every logical CPU device, of
    which there is one unless configured otherwise. "multi_worker" has them on the devices of all
    hosts that TF_CONFIG names.
    """
    if mode == "none":
        return OneDevice(supervisor)
    if mode == "mirrored":
        return Replicated(tf.distribute.MirroredStrategy(_local_devices()), supervisor)
    proxies.bypass(supervisor.cluster.hosts())
    _leave_waiting_to_us()
    seconds = supervisor.start_timeout
    what = f"waited {seconds:g} s for TensorFlow to start on all workers and to reach them"
    with supervisor.within(seconds, what):
        return Replicated(tf.distribute.MultiWorkerMirroredStrategy(), supervisor)


def _leave_waiting_to_us() -> None:
    """Turns off what TensorFlow has in the place of `supervision`; there is no public way to.

    While its coordination service waits for the other workers it keeps Python's lock, so that no
    thread of ours can end the waiting, and it takes SIGTERM for itself. Without it TensorFlow waits
    in the collective operation that makes the first variable. Its health check would make every
    process wait half a minute at its end.
    """
    context.context().configure_coordination_service(service_type="")
    CollectiveAllReduceExtended._enable_check_health = False


def _local_devices() -> list[str]:
    devices: Iterable[Any] = tf.config.list_logical_devices(
        "GPU"
    ) or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]
