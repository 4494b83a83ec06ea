"""Trains a warp generator: the energy distance of its samples to drawings of the class outside the support."""

import contextlib
import json
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from figr_tf import checkpoints, console, runs
from figr_tf.adaptation import stateless_seed
from figr_tf.datasets import Dataset
from figr_tf.interruption import Interrupted, signals_noted
from figr_tf.warp import energy, model
from figr_tf.warp.generator import random_draw

_WARM_UP = 50  # steps
_CONSTANT_SHARE, _LAST_RATE = 0.6, 0.02  # then linearly down to this share of the rate
_GRADIENT_NORM = 5.0
_AVERAGE = 0.995  # of the weights, from step to step; the average is what is kept
_LOG_EVERY, _CHECKPOINT_EVERY = 100, 500
_EMBED_BATCH = 1000
_BASELINE_TASKS = 400
_TASKS, _DRAWS = 0, 1  # streams of the seed


class TaskDrawings:
    """Training classes in four turns, with the blur features of every real drawing worked out beforehand."""

    def __init__(self, dataset: Dataset, space: energy.BlurSpace, upright_share: float):
        data, split = dataset
        starts, self._count = data.starts(), min(data.counts[name] for name in split.training)
        upright = np.stack([data.images[starts[n] : starts[n] + self._count, ..., 0] for n in split.training])
        self._num_classes, self._upright_share = len(upright), upright_share
        turned = np.concatenate([np.rot90(upright, k, axes=(2, 3)) for k in range(4)])
        self._pixels = tf.constant(turned)
        self._features = self._embed(turned, space)

    def _embed(self, drawings: np.ndarray, space: energy.BlurSpace) -> tf.Tensor:
        flat = drawings.reshape(-1, *drawings.shape[2:])
        embed = tf.function(lambda pixels: space(_ink(pixels)), autograph=False, reduce_retracing=True)
        parts = [embed(tf.constant(flat[i : i + _EMBED_BATCH])) for i in range(0, len(flat), _EMBED_BATCH)]
        return tf.reshape(tf.concat(parts, 0), [*drawings.shape[:2], -1])

    def draw(self, num_tasks: int, num_shots: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Support ink [T, n, S, S], and the features of the class' other drawings [T, r, d]."""
        seeds = tf.unstack(tf.random.split(seed, 4, alg="philox"))
        turned = tf.random.stateless_uniform([num_tasks], seeds[0], alg="philox") >= self._upright_share
        turns = tf.random.stateless_uniform([num_tasks], seeds[1], 1, 4, tf.int32, "philox")
        classes = tf.random.stateless_uniform([num_tasks], seeds[2], 0, self._num_classes, tf.int32, "philox")
        classes += tf.where(turned, turns, 0) * self._num_classes
        order = tf.argsort(tf.random.stateless_uniform([num_tasks, self._count], seeds[3], alg="philox"))
        support = tf.gather(tf.gather(self._pixels, classes), order[:, :num_shots], batch_dims=1)
        rest = order[:, num_shots:]
        return _ink(support), tf.gather(tf.gather(self._features, classes), rest, batch_dims=1)


def _ink(pixels: tf.Tensor) -> tf.Tensor:
    return 1.0 - tf.cast(pixels, tf.float32) / 255.0


class Trainer:
    """The generator, its averaged weights, and the compiled step."""

    def __init__(self, settings: model.WarpSettings, dataset: Dataset):
        self._settings = settings
        self._space = energy.BlurSpace(settings.data.image_size)
        self._drawings = TaskDrawings(dataset, self._space, settings.upright_share)
        _, real = self._drawings.draw(_BASELINE_TASKS, 0, stateless_seed(settings.seed))
        self._copying = energy.copying(real, settings.num_shots)
        self.generator = settings.build_generator()
        self._weights = self.generator.trainable_variables
        self._average = [tf.Variable(w.value) for w in self._weights]
        self._optimizer = keras.optimizers.Adam(settings.learning_rate, beta_2=0.99, epsilon=1e-8)
        self._optimizer.build(self._weights)
        self.num_steps = tf.Variable(0)
        self.take_step = tf.function(self._take_step, autograph=False)

    def state(self) -> dict[str, Any]:
        """All variables, for `checkpoints`; every draw is a function of the seed and the step."""
        return {
            "weights": [w.value for w in self._weights],
            "average": self._average,
            "optimizer": [variable.value for variable in self._optimizer.variables],
            "num_steps": self.num_steps,
        }

    def averaged_weights(self) -> list[np.ndarray]:
        """In the order of `generator.get_weights()`."""
        values = {id(w): average.numpy() for w, average in zip(self._weights, self._average, strict=True)}
        return [values[id(w)] for w in self.generator.weights]

    def _take_step(self) -> tf.Tensor:
        """One step → the training skill: 1 − energy distance / that of copying."""
        settings, step = self._settings, self.num_steps.read_value()
        tasks, samples = settings.num_tasks, settings.num_samples
        support, real = self._drawings.draw(tasks, settings.num_shots, stateless_seed(settings.seed, step, _TASKS))
        seed = stateless_seed(settings.seed, step, _DRAWS)
        with tf.GradientTape() as tape:
            draw = random_draw([tasks, samples], settings.latent_dim, settings.num_shots, seed)
            ink = tf.reshape(self.generator((support, draw)), [-1, *support.shape[2:]])
            embedded = tf.reshape(self._space(ink), [tasks, samples, -1])
            loss = tf.reduce_mean(energy.energy_distance(embedded, real)) / self._copying
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, [w.value for w in self._weights]), _GRADIENT_NORM)
        self._optimizer.learning_rate.assign(settings.learning_rate * self._rate(step))
        self._optimizer.apply(gradients, self._weights)
        for average, weight in zip(self._average, self._weights, strict=True):
            average.assign(_AVERAGE * average + (1 - _AVERAGE) * weight)
        self.num_steps.assign(step + 1)
        return 1.0 - loss

    def _rate(self, step: tf.Tensor) -> tf.Tensor:
        done = tf.cast(step, tf.float32) / self._settings.num_steps
        falling = tf.maximum(_LAST_RATE, (1 - done) / (1 - _CONSTANT_SHARE))
        return tf.minimum(tf.minimum(1.0, falling), (tf.cast(step, tf.float32) + 1) / _WARM_UP)


def train(settings: model.WarpSettings, dataset: Dataset, folder: runs.RunFolder, identity: dict[str, Any]) -> None:
    """Trains, from the folder's newest checkpoint if there is one, and saves the averaged weights.

    A continued run takes the same steps as an unbroken one.

    Args:
        identity: `settings.identity(…)`; the folder records the same.

    Raises:
        Interrupted: SIGTERM or Ctrl-C came; everything is saved.
        RunError: see `checkpoints`.
    """
    trainer = Trainer(settings, dataset)
    folder.checkpoints.mkdir(exist_ok=True)
    checkpoints.sweep(folder.checkpoints)
    if checkpoints.restore_objects(folder.checkpoints, trainer.state(), identity):
        print(f"continuing at step {int(trainer.num_steps)}", flush=True)
    metrics = folder.path / "metrics.jsonl"
    _forget_after(metrics, int(trainer.num_steps))
    pending = []
    with signals_noted() as signals:
        for step in console.track(range(int(trainer.num_steps) + 1, settings.num_steps + 1), "training", "steps"):
            pending.append(float(trainer.take_step()))
            if step % _LOG_EVERY == 0 or step == settings.num_steps:
                with metrics.open("a") as file:
                    file.write(json.dumps({"step": step, "skill_blur": round(float(np.mean(pending)), 4)}) + "\n")
                pending = []
            if step % _CHECKPOINT_EVERY == 0 or step == settings.num_steps or signals:
                checkpoints.save_objects(folder.checkpoints, step, trainer.state(), identity)
            if signals:
                raise Interrupted(signals[0], f"step {step}")
    model.write_weights(folder.path, trainer.averaged_weights())


def _forget_after(metrics: pathlib.Path, step: int) -> None:
    """Drops lines of steps that a kill threw away and that will be taken again, and a line torn by it."""
    kept = []
    for line in metrics.read_text().splitlines() if metrics.exists() else []:
        with contextlib.suppress(ValueError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    runs.write_whole(metrics, "".join(kept))
