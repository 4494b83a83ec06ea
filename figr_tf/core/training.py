"""The meta-training loop of any system: when to save, when to draw, when to stop.

It knows no flags and no networks.
"""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from PIL import Image

from figr_tf.core import checkpoints, recording, reptile
from figr_tf.core.distributed import strategy
from figr_tf.core.errors import RunError
from figr_tf.core.interruption import Interrupted, signals_noted
from figr_tf.core.random import TRAINING, split, stateless_seed
from figr_tf.core.runs import RunFolder
from figr_tf.core.settings import TrainingSettings
from figr_tf.core.system import Adapted, System, Weights

MAX_SKIPPED_IN_A_ROW = 10


class Trainer:
    """A run in memory: the system, its meta-weights and the compiled meta-step.

    Pictures and reports show Φ itself, also where an average of it is kept.
    """

    def __init__(
        self,
        build_system: Callable[[], System],
        settings: TrainingSettings,
        compiled: bool,
        replicas: strategy.OneDevice | None = None,
    ):
        """Builds the system and compiles its meta-step.

        Args:
            build_system: makes the system and its variables, where the replicas need them.
            compiled: whether XLA compiles the meta-step.
            replicas: the devices that share each meta-batch; None: one device.
        """
        self.settings = settings
        self.replicas = replicas = replicas or strategy.OneDevice()
        # First: a meta-batch that cannot be shared is refused before anything is built.
        self._share = replicas.share(settings.meta_batch_size)
        with replicas.waiting_for("the initial weights"), replicas.scope():
            self.system = build_system()
            self.reptile = reptile.Reptile(self.system, settings.meta_average)
        self._placed = tf.nest.map_structure(replicas.place, self.system.constants)
        self._gradient = replicas.compile_share(self._meta_gradient, jit_compile=compiled)
        replica_step = strategy.ReplicaStep(
            self._take_meta_step, self.reptile.metric_dtypes(), self._share
        )
        self.take_meta_steps = replicas.compile_meta_steps(
            replica_step, self._placed, settings.meta_steps_per_call, jit_compile=compiled
        )

    def _take_meta_step(self, constants: Any) -> reptile.MetaStepMetrics:
        """One replica's part: its share of the meta-gradient, the mean with all others', a step."""
        state, replicas = self.reptile, self.replicas
        meta_step = tf.cast(state.meta_step.read_value(), tf.int32)
        state.set_learning_rate(self.settings.learning_rate(meta_step))
        first_task = replicas.first_task(self._share)
        share = self._gradient(*state.read(), constants, meta_step, first_task)
        return state.descend(replicas.mean(share), self.settings.meta_batch_size)

    def _meta_gradient(
        self,
        meta_weights: Weights,
        carried: tuple[tf.Tensor, ...],
        constants: Any,
        meta_step: tf.Tensor,
        first_task: int | tf.Tensor,
    ) -> reptile.MetaGradient:
        """Over tasks that depend on their numbers in the meta-batch alone.

        So it does not matter which replica adapts to which.
        """

        def adapt_to(task: int | tf.Tensor) -> Adapted:
            seed = stateless_seed(self.settings.seed, TRAINING, meta_step, first_task + task)
            # Two seeds, so that the draw of a task and the latents have no numbers in common.
            task_seed, adaptation_seed = split(seed, 2)
            drawn = self.system.draw_task(constants, task_seed)
            return self.system.adapt(meta_weights, carried, drawn, adaptation_seed)

        names = list(self.system.metric_labels)
        return reptile.meta_gradient(adapt_to, meta_weights, carried, names, self._share)

    def pictures(self) -> Iterator[Image.Image]:
        """Of held-out tasks, from the constants on this process' first device."""
        return self.system.pictures(self.replicas.local(self._placed))

    def report(self) -> dict[str, float]:
        """Of held-out tasks, likewise."""
        return self.system.report(self.replicas.local(self._placed))


def train(
    build_system: Callable[[], System],
    settings: TrainingSettings,
    folder: RunFolder | None = None,
    identity: dict[str, Any] | None = None,
    replicas: strategy.OneDevice | None = None,
) -> System:
    """Meta-trains up to `settings.num_meta_steps`, from the folder's newest checkpoint if any.

    A continued run takes the same steps as an unbroken one, bit for bit on a CPU.

    Args:
        build_system: see `Trainer`.
        folder: None writes nothing; all workers but the chief have none.
        identity: see `settings.full_identity`; the folder records the same.
        replicas: the devices that share each meta-batch; by default one.

    Returns:
        The system as trained.

    Raises:
        Interrupted: SIGTERM or Ctrl-C came, to this or another worker; everything is saved.
        RunError: see `checkpoints`; a full disk; or ten meta-steps in a row that were not finite.
    """
    identity = identity or {"xla": settings.is_compiled("CPU")}
    replicas = replicas or strategy.OneDevice()
    trainer = Trainer(build_system, settings, identity["xla"], replicas)
    recorder: recording.Bystander = recording.Bystander()
    if folder:
        labels = trainer.system.metric_labels
        recorder = recording.Recorder(settings, folder, trainer.reptile, identity, labels)
    with replicas.waiting_for("the state of the run"):
        recorder.restore()
        replicas.broadcast(checkpoints.state_variables(trainer.reptile))
    supervisor = replicas.supervisor
    with (
        supervisor.hearing_signals(),
        signals_noted(supervisor.stop_signals) as signals,
        recorder.begin(signals),
    ):
        _loop(trainer, recorder, signals)
    return trainer.system


def _loop(trainer: Trainer, recorder: recording.Bystander, signals: list[int]) -> None:
    settings, state, replicas = trainer.settings, trainer.reptile, trainer.replicas
    done = state.num_meta_steps_taken()
    # A kill may have come between checkpoint and picture.
    recorder.draw_if_due(trainer, done, signals)
    while done < settings.num_meta_steps:
        times = settings.meta_steps_of_next_call(done)
        metrics = trainer.take_meta_steps(times)
        done += times
        recorder.count(metrics, done)
        # Φ has not moved since, and that many other tasks did not help.
        hopeless = state.num_skipped_in_a_row.numpy() >= MAX_SKIPPED_IN_A_ROW
        is_last = done == settings.num_meta_steps
        is_due = done % settings.checkpoint_every == 0
        # Saving comes before drawing: a picture takes seconds in which a kill may come.
        saved = is_due or is_last or hopeless or replicas.is_stopping(signals)
        if saved:
            recorder.save()
        if hopeless:
            raise RunError(
                f"{MAX_SKIPPED_IN_A_ROW} meta-steps in a row were not finite, up to meta-step"
                f" {done}. Φ is as it was before them. Start again with a lower inner learning"
                " rate."
            )
        recorder.draw_if_due(trainer, done, signals)
        if replicas.is_stopping(signals):
            # The signal may have come during the picture.
            if not saved:
                recorder.save()
            raise Interrupted(signals[0] if signals else signal.SIGTERM, f"meta-step {done}")
    if signals:  # It may have broken the last picture off.
        raise Interrupted(signals[0], f"meta-step {done}")
