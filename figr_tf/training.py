"""The meta-training loop: steps, metrics, pictures, checkpoints, interruption. Knows no flags."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_images import image_grid, images
from figr_tf import checkpoints, console, datasets, reptile, runs
from figr_tf.adaptation import stateless_seed, weights_of
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

    def __init__(self, settings: Settings, dataset: datasets.Dataset, identity: dict[str, Any]):
        self.settings = settings
        self.identity = identity
        self.reptile = reptile.Reptile(
            build_networks(settings.network, settings.seed),
            reptile.Adam(settings.meta_learning_rate),
            reptile.Adam(settings.meta_learning_rate),
        )
        pixels = tf.constant(dataset.data.images)
        self._sampler, self.held_out = (
            TaskSampler(pixels, dataset.data, class_names, settings.num_shots, class_rotations)
            for class_names, class_rotations in (
                (dataset.split.training, settings.class_rotations),
                (dataset.split.held_out, False),
            )
        )
        # No autograph: there is nothing for it to convert, and it reads the source when a step is first traced, at the
        # first picture say, when a pull may have changed the files under a run that has been going for hours.
        self.take_meta_step = tf.function(self._take_meta_step, autograph=False, jit_compile=identity["xla"])
        self._evaluate_task = tf.function(self._adapt_to, autograph=False, jit_compile=identity["xla"])

    def _take_meta_step(self) -> reptile.MetaStepMetrics:
        settings, state = self.settings, self.reptile
        meta_step = tf.cast(state.meta_step, tf.int32)
        seeds = [stateless_seed(settings.seed, _TRAINING, meta_step, task) for task in range(settings.meta_batch_size)]
        support_seeds, adaptation_seeds = tf.unstack(
            tf.stack([tf.random.split(seed, 2, alg="philox") for seed in seeds], axis=1)
        )
        if settings.anneal_meta_learning_rate:
            remaining = 1.0 - tf.cast(meta_step, tf.float32) / settings.num_meta_steps
            state.set_learning_rate(settings.meta_learning_rate * remaining)
        support = tf.stack([self._sampler.random_support_images(seed) for seed in tf.unstack(support_seeds)])
        return state.take_meta_step(
            support, settings.num_inner_steps, settings.inner, adaptation_seeds, settings.tasks_at_once
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


class _Metrics:
    """metrics.jsonl and TensorBoard: means over the meta-steps since the last line."""

    def __init__(self, folder: RunFolder, meta_step: int):
        self._path = folder.path / "metrics.jsonl"
        self._forget_after(meta_step)
        self._writer = tf.summary.create_file_writer(str(folder.tensorboard), filename_suffix=f".from-{meta_step}")
        self._pending: list[dict[str, float]] = []

    def _forget_after(self, meta_step: int) -> None:
        """Drops lines of steps that a kill threw away and that will be taken again, and a line torn by it."""
        text = self._path.read_text() if self._path.exists() else ""
        kept = []
        for line in text.splitlines(keepends=True):
            with contextlib.suppress(ValueError):
                if json.loads(line)["meta_step"] <= meta_step and line.endswith("\n"):
                    kept.append(line)
        if "".join(kept) != text:
            runs.write_whole(self._path, "".join(kept))

    def add(self, metrics: reptile.MetaStepMetrics) -> None:
        values = metrics._asdict() | {f"{k}_loss": v for k, v in metrics.losses._asdict().items()}
        values["gradient_penalty"] = values.pop("gradient_penalty_loss")
        self._pending.append({k: float(v) for k, v in values.items() if k not in ("losses", "finite")})

    def write(self, meta_step: int, steps_per_second: float | None, num_skipped: int) -> dict[str, Any]:
        """Appends one line of means; steps that were skipped count with what is finite of theirs."""
        rows, self._pending = self._pending, []
        line: dict[str, Any] = {"meta_step": meta_step}
        for key in rows[0]:
            finite = [row[key] for row in rows if np.isfinite(row[key])]
            line[key] = float(np.mean(finite)) if finite else None
        line |= {"num_skipped": num_skipped, "meta_steps_per_second": steps_per_second}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        with self._writer.as_default(step=meta_step):
            for key, value in line.items():
                if value is not None and key != "meta_step":
                    tf.summary.scalar(key, value)
        self._writer.flush()
        return line

    def write_picture(self, meta_step: int, picture) -> None:
        with self._writer.as_default(step=meta_step):
            tf.summary.image("held_out", np.asarray(picture)[None])
        self._writer.flush()


def train(settings: Settings, dataset: datasets.Dataset, folder: RunFolder, identity: dict[str, Any]) -> None:
    """Meta-trains up to `settings.num_meta_steps`, continuing from the folder's newest checkpoint if there is one.

    A continued run takes the same steps as an unbroken one, bit for bit on a CPU.

    Args:
        identity: see `settings.full_identity`; the folder records the same.

    Raises:
        Interrupted: SIGTERM or Ctrl-C came; everything is saved.
        RunError: see `checkpoints`; a full disk; or ten meta-steps in a row that were not finite.
    """
    trainer = Trainer(settings, dataset, identity)
    checkpoints.sweep(folder.checkpoints)
    if checkpoints.restore_training(folder.checkpoints, trainer.reptile, identity):
        print(f"continuing at meta-step {int(trainer.reptile.meta_step)}", flush=True)
    step = int(trainer.reptile.meta_step)
    if step < settings.num_meta_steps:
        print("building the graph of the first meta-step, about half a minute", flush=True)
    progress = console.Progress(step, settings.num_meta_steps)
    try:
        with signals_noted() as signals, contextlib.closing(progress):
            _loop(trainer, folder, _Metrics(folder, step), progress, signals)
    except OSError as error:
        raise RunError(
            f"{folder.path}: {error.strerror or error} while writing metrics or pictures. The last checkpoint is of"
            f" meta-step {folder.num_checkpointed_steps()}; the same command continues from it."
        ) from error


def _loop(
    trainer: Trainer, folder: RunFolder, metrics: _Metrics, progress: console.Progress, signals: list[int]
) -> None:
    settings, state = trainer.settings, trainer.reptile
    step = int(state.meta_step)
    _picture_if_due(trainer, folder, metrics, step, signals)  # a kill may have come between checkpoint and picture
    while step < settings.num_meta_steps:
        metrics.add(trainer.take_meta_step())
        step += 1
        progress.count_step()
        done = step == settings.num_meta_steps
        line = None
        if step % settings.log_every == 0 or done:
            line = metrics.write(step, progress.steps_per_second(), int(state.num_skipped))
        progress.show(line)
        hopeless = int(state.num_skipped_in_a_row) >= MAX_SKIPPED_IN_A_ROW
        saved = step % settings.checkpoint_every == 0 or done or hopeless or bool(signals)
        if saved:
            checkpoints.save(folder.checkpoints, state, trainer.identity)
        if hopeless:
            raise RunError(
                f"{folder.path}: {MAX_SKIPPED_IN_A_ROW} meta-steps in a row were not finite, up to meta-step {step}."
                " Φ is as it was before them. Start again with a lower --inner_learning_rate."
            )
        _picture_if_due(trainer, folder, metrics, step, signals)
        if signals:
            if not saved:  # the signal came during the picture
                checkpoints.save(folder.checkpoints, state, trainer.identity)
            raise Interrupted(signals[0], f"meta-step {step}")


def _picture_if_due(trainer: Trainer, folder: RunFolder, metrics: _Metrics, step: int, signals: list[int]) -> None:
    """Draws the fixed held-out tasks every `eval_every` meta-steps and at the end, unless that picture is there."""
    due = step and (step % trainer.settings.eval_every == 0 or step == trainer.settings.num_meta_steps)
    if not due or folder.grid(step).exists():
        return
    pictures = []
    remaining = trainer.held_out_pictures()
    # A large network needs minutes for all tasks; whoever stops the run will not wait for that.
    while not signals and (picture := next(remaining, None)):
        pictures.append(picture)
    if not signals:
        grid = image_grid.beside(pictures)
        metrics.write_picture(step, grid)
        grid.save(folder.grid(step))
