"""Trains a warp generator: the energy distance of its samples to drawings of the class that are not in the support."""

import json
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from figr_tf import console, energy, warp_model
from figr_tf.adaptation import stateless_seed
from figr_tf.datasets import Dataset
from figr_tf.warp_generator import random_draw

_WARM_UP = 50  # steps
_CONSTANT_SHARE, _LAST_RATE = 0.6, 0.02  # then linearly down to this share of the rate
_GRADIENT_NORM = 5.0
_AVERAGE = 0.995  # of the weights, from step to step; the average is what is kept
_LOG_EVERY = 100
_EMBED_BATCH = 1000
_BASELINE_TASKS = 400
_TASKS, _DRAWS = 0, 1  # streams of the seed

Space = Callable[[tf.Tensor], tf.Tensor]


class TaskDrawings:
    """Training classes in four turns, with the features of every real drawing worked out beforehand."""

    def __init__(self, dataset: Dataset, spaces: list[Space], upright_share: float):
        data, split = dataset
        starts, self._count = data.starts(), min(data.counts[name] for name in split.training)
        upright = np.stack([data.images[starts[n] : starts[n] + self._count, ..., 0] for n in split.training])
        self._num_classes, self._upright_share = len(upright), upright_share
        turned = np.concatenate([np.rot90(upright, k, axes=(2, 3)) for k in range(4)])
        self._pixels = tf.constant(turned)
        self._features = [self._embed(turned, space) for space in spaces]

    def _embed(self, drawings: np.ndarray, space: Space) -> tf.Tensor:
        flat = drawings.reshape(-1, *drawings.shape[2:])
        embed = tf.function(lambda pixels: space(_ink(pixels)), autograph=False, reduce_retracing=True)
        parts = [embed(tf.constant(flat[i : i + _EMBED_BATCH])) for i in range(0, len(flat), _EMBED_BATCH)]
        return tf.reshape(tf.concat(parts, 0), [*drawings.shape[:2], -1])

    def draw(self, num_tasks: int, num_shots: int, seed: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Support ink [T, n, S, S], and in each space the features of the class' other drawings [T, r, d]."""
        seeds = tf.unstack(tf.random.split(seed, 4, alg="philox"))
        turned = tf.random.stateless_uniform([num_tasks], seeds[0], alg="philox") >= self._upright_share
        turns = tf.random.stateless_uniform([num_tasks], seeds[1], 1, 4, tf.int32, "philox")
        classes = tf.random.stateless_uniform([num_tasks], seeds[2], 0, self._num_classes, tf.int32, "philox")
        classes += tf.where(turned, turns, 0) * self._num_classes
        order = tf.argsort(tf.random.stateless_uniform([num_tasks, self._count], seeds[3], alg="philox"))
        support = tf.gather(tf.gather(self._pixels, classes), order[:, :num_shots], batch_dims=1)
        rest = order[:, num_shots:]
        return _ink(support), [tf.gather(tf.gather(f, classes), rest, batch_dims=1) for f in self._features]


def _ink(pixels: tf.Tensor) -> tf.Tensor:
    return 1.0 - tf.cast(pixels, tf.float32) / 255.0


class Trainer:
    """The generator, its averaged weights, and the compiled step."""

    def __init__(self, settings: warp_model.WarpSettings, dataset: Dataset, coach: energy.CharacterSpace | None):
        self._settings = settings
        self._spaces: list[Space] = [energy.BlurSpace(settings.data.image_size), *([coach] if coach else [])]
        self._drawings = TaskDrawings(dataset, self._spaces, settings.upright_share)
        _, real = self._drawings.draw(_BASELINE_TASKS, 0, stateless_seed(settings.seed))
        self._copying = [energy.copying(features, settings.num_shots) for features in real]
        self.generator = settings.build_generator()
        self._weights = self.generator.trainable_variables
        self._average = [tf.Variable(w.value) for w in self._weights]
        self._optimizer = keras.optimizers.Adam(settings.learning_rate, beta_2=0.99, epsilon=1e-8)
        self._optimizer.build(self._weights)
        self.step = tf.function(self._step, autograph=False)

    def averaged_weights(self) -> list[np.ndarray]:
        """In the order of `generator.get_weights()`."""
        values = {id(w): average.numpy() for w, average in zip(self._weights, self._average, strict=True)}
        return [values[id(w)] for w in self.generator.weights]

    def _step(self, step: tf.Tensor) -> list[tf.Tensor]:
        """One step → the training skill in each space: 1 − energy distance / that of copying."""
        settings = self._settings
        tasks, samples = settings.num_tasks, settings.num_samples
        support, real = self._drawings.draw(tasks, settings.num_shots, stateless_seed(settings.seed, step, _TASKS))
        seed = stateless_seed(settings.seed, step, _DRAWS)
        with tf.GradientTape() as tape:
            draw = random_draw([tasks, samples], settings.latent_dim, settings.num_shots, seed)
            ink = tf.reshape(self.generator((support, draw)), [-1, *support.shape[2:]])
            losses = []
            for space, features, copying in zip(self._spaces, real, self._copying, strict=True):
                embedded = tf.reshape(space(ink), [tasks, samples, -1])
                losses.append(tf.reduce_mean(energy.energy_distance(embedded, features)) / copying)
            loss = tf.add_n(losses)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, [w.value for w in self._weights]), _GRADIENT_NORM)
        self._optimizer.learning_rate.assign(settings.learning_rate * self._rate(step))
        self._optimizer.apply(gradients, self._weights)
        for average, weight in zip(self._average, self._weights, strict=True):
            average.assign(_AVERAGE * average + (1 - _AVERAGE) * weight)
        return [1.0 - loss for loss in losses]

    def _rate(self, step: tf.Tensor) -> tf.Tensor:
        done = tf.cast(step, tf.float32) / self._settings.num_steps
        falling = tf.maximum(_LAST_RATE, (1 - done) / (1 - _CONSTANT_SHARE))
        return tf.minimum(tf.minimum(1.0, falling), (tf.cast(step, tf.float32) + 1) / _WARM_UP)


def train(
    settings: warp_model.WarpSettings,
    dataset: Dataset,
    coach: energy.CharacterSpace | None,
    folder: pathlib.Path,
) -> None:
    """Trains from scratch and saves the averaged weights into `folder`, with metrics.jsonl beside them.

    Args:
        coach: the feature network of `settings.features_sha256`.
    """
    trainer = Trainer(settings, dataset, coach)
    folder.mkdir(parents=True, exist_ok=True)
    pending = []
    with (folder / "metrics.jsonl").open("w") as metrics:
        for step in console.track(range(settings.num_steps), "training", "steps"):
            pending.append([float(skill) for skill in trainer.step(tf.constant(step))])
            if (step + 1) % _LOG_EVERY == 0 or step + 1 == settings.num_steps:
                means = np.mean(pending, axis=0).round(4).tolist()
                skills = dict(zip(("skill_blur", "skill_coach"), means, strict=False))
                metrics.write(json.dumps({"step": step + 1} | skills) + "\n")
                metrics.flush()
                pending = []
    warp_model.save(folder, settings, dataset.split, trainer.averaged_weights())
