"""The meta-training loop: steps, when to save and to draw, interruption. Knows no flags."""

import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_images import image_grid, images
from figr_tf import checkpoints, datasets, distribution, recording, reptile
from figr_tf.adaptation import InnerLosses, Weights, stateless_seed, weights_of
from figr_tf.errors import RunError
from figr_tf.generation import adapt_and_generate
from figr_tf.interruption import Interrupted, signals_noted
from figr_tf.networks import build_networks
from figr_tf.runs import RunFolder
from figr_tf.settings import Settings
from figr_tf.tasks import TaskSampler

MAX_SKIPPED_IN_A_ROW = 10
_GRID_TASKS = 6
_GRID_ROWS = 3  # of samples below the support set, as in the paper's figures
# Streams of the run's seed.
_TRAINING, _EVALUATION = 0, 1


def is_compiled(settings: Settings, device: str) -> bool:
    """Whether XLA compiles the steps: it makes them several times faster on a GPU and ten times slower on a CPU."""
    return settings.jit_compile == "on" or (settings.jit_compile == "auto" and device != "CPU")


class Trainer:
    """A run in memory: the networks, the compiled steps and the random streams."""

    def __init__(
        self,
        settings: Settings,
        dataset: datasets.Dataset,
        identity: dict[str, Any],
        replicas: distribution.OneDevice | None = None,
    ):
        self.settings = settings
        self.replicas = replicas = replicas or distribution.OneDevice()
        self._share = replicas.share(settings.meta_batch_size, settings.tasks_at_once)
        with replicas.waiting_for("the initial weights"), replicas.scope():
            self.reptile = reptile.Reptile(
                build_networks(settings.network, settings.seed),
                reptile.Adam(settings.meta_learning_rate),
                reptile.Adam(settings.meta_learning_rate),
            )
        self.pixels = replicas.place(dataset.data.images)
        self._sampler, self.held_out = (
            TaskSampler(replicas.local(self.pixels), dataset.data, class_names, settings.num_shots, class_rotations)
            for class_names, class_rotations in (
                (dataset.split.training, settings.class_rotations),
                (dataset.split.held_out, False),
            )
        )
        # No autograph: there is nothing for it to convert, and it reads the source when a step is first traced, at the
        # first picture say, when a pull may have changed the files under a run that has been going for hours.
        self._gradient = replicas.compile_share(self._meta_gradient, jit_compile=identity["xla"])
        step = distribution.Step(self._take_meta_step, reptile.METRIC_DTYPES, self._share)
        self.take_meta_steps = replicas.compile_steps(
            step, self.pixels, settings.meta_steps_per_call, jit_compile=identity["xla"]
        )
        self._evaluate_task = tf.function(self._adapt_to, autograph=False, jit_compile=identity["xla"])

    def _take_meta_step(self, pixels: tf.Tensor) -> reptile.MetaStepMetrics:
        """Of one replica: its share of the meta-gradient, the mean with all others', and the same step as theirs."""
        settings, state, replicas = self.settings, self.reptile, self.replicas
        meta_step = tf.cast(state.meta_step.read_value(), tf.int32)
        if settings.anneal_meta_learning_rate:
            remaining = 1.0 - tf.cast(meta_step, tf.float32) / settings.num_meta_steps
            state.set_learning_rate(settings.meta_learning_rate * remaining)
        share = self._gradient(weights_of(state.networks), pixels, meta_step, replicas.first_task(self._share))
        return state.descend(*replicas.mean(share))

    def _meta_gradient(
        self, meta_weights: Weights, pixels: tf.Tensor, meta_step: tf.Tensor, first_task: int | tf.Tensor
    ) -> tuple[Weights, InnerLosses]:
        """Over tasks that depend on their numbers within the meta-batch alone, whichever replica adapts to them."""
        settings = self.settings
        tasks = [first_task + i for i in range(self._share)]
        seeds = [stateless_seed(settings.seed, _TRAINING, meta_step, task) for task in tasks]
        support_seeds, adaptation_seeds = tf.unstack(
            tf.stack([tf.random.split(seed, 2, alg="philox") for seed in seeds], axis=1)
        )
        sampler = self._sampler.over(pixels)
        support = tf.stack([sampler.random_support_images(seed) for seed in tf.unstack(support_seeds)])
        return reptile.meta_gradient(
            self.reptile.networks,
            meta_weights,
            support,
            settings.num_inner_steps,
            settings.inner,
            adaptation_seeds,
            settings.tasks_at_once,
        )

    def _adapt_to(self, support_images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        networks, settings = self.reptile.networks, self.settings
        num_samples = _GRID_ROWS * settings.num_shots
        return adapt_and_generate(
            networks, weights_of(networks), support_images, settings.num_inner_steps, settings.inner, num_samples, seed
        )

    def held_out_pictures(self) -> Iterator[Image.Image]:
        """Fixed held-out tasks, adapted to with fixed seeds: pictures of one run differ by its training alone."""
        num_classes = len(self.held_out.class_names)
        for index in np.linspace(0, num_classes - 1, min(_GRID_TASKS, num_classes)).round().astype(int).tolist():
            task = self.held_out.task(index, stateless_seed(self.settings.seed, _EVALUATION, index))
            samples = self._evaluate_task(task.support_images, tf.constant(index))
            yield image_grid.task_picture(
                images.to_uint8(task.support_images.numpy()), images.to_uint8(samples.numpy())
            )


def train(
    settings: Settings,
    dataset: datasets.Dataset,
    folder: RunFolder | None,
    identity: dict[str, Any],
    replicas: distribution.OneDevice | None = None,
) -> None:
    """Meta-trains up to `settings.num_meta_steps`, continuing from the folder's newest checkpoint if there is one.

    A continued run takes the same steps as an unbroken one, bit for bit on a CPU.

    Args:
        folder: None for all workers but the chief.
        identity: see `settings.full_identity`; the folder records the same.
        replicas: the devices that share each meta-batch; by default one.

    Raises:
        Interrupted: SIGTERM or Ctrl-C came, to this or another worker; everything is saved.
        RunError: see `checkpoints`; a full disk; or ten meta-steps in a row that were not finite.
    """
    replicas = replicas or distribution.OneDevice()
    trainer = Trainer(settings, dataset, identity, replicas)
    recorder = recording.Recorder(settings, folder, trainer.reptile, identity) if folder else recording.Bystander()
    with replicas.waiting_for("the state of the run"):
        recorder.restore()
        replicas.broadcast(checkpoints.state_variables(trainer.reptile))
    supervisor = replicas.supervisor
    with supervisor.hearing_signals(), signals_noted(supervisor.stop_signals) as signals, recorder.begin():
        _loop(trainer, recorder, signals)


def _loop(trainer: Trainer, recorder: recording.Bystander, signals: list[int]) -> None:
    settings, state, replicas = trainer.settings, trainer.reptile, trainer.replicas
    step = state.num_steps()
    # A kill may have come between checkpoint and picture.
    recorder.draw_if_due(trainer.held_out_pictures(), step, signals)
    while step < settings.num_meta_steps:
        times = settings.meta_steps_of_next_call(step)
        metrics = trainer.take_meta_steps(times)
        step += times
        recorder.count(metrics, step)
        hopeless = state.num_skipped_in_a_row.numpy() >= MAX_SKIPPED_IN_A_ROW
        done = step == settings.num_meta_steps
        saved = step % settings.checkpoint_every == 0 or done or hopeless or replicas.is_stopping(signals)
        if saved:
            recorder.save()
        if hopeless:
            raise RunError(
                f"{MAX_SKIPPED_IN_A_ROW} meta-steps in a row were not finite, up to meta-step {step}."
                " Φ is as it was before them. Start again with a lower --inner_learning_rate."
            )
        recorder.draw_if_due(trainer.held_out_pictures(), step, signals)
        if replicas.is_stopping(signals):
            if not saved:  # the signal came during the picture
                recorder.save()
            raise Interrupted(signals[0] if signals else signal.SIGTERM, f"meta-step {step}")
