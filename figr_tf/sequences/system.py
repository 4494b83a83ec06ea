"""Reading images by gradient descent, as the core sees it: a task is a few images side by side."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_common import image_grid
from figr_tf.core import command, system
from figr_tf.core.errors import DataError
from figr_tf.core.optimizers import Adam
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.data.datasets import load_dataset
from figr_tf.data.settings import DataSettings
from figr_tf.sequences import models, recurrence
from figr_tf.sequences.recurrence import Read
from figr_tf.sequences.settings import SequenceSettings

_DARK = 128  # A byte below is ink; MNIST's own pixels are ink from 128 on.
_HELD_OUT_EVERY = 10
_LEAST = 2 * _HELD_OUT_EVERY
_REPORT_IMAGES, _SHOWN_IMAGES = 32, 8


class Sequences(NamedTuple):
    """Binary images in raster order, uint8 [·, N] of 0 and 1, ink 1.

    Attributes:
        training: those that are learned from. held_out: every tenth of all.
        facts: what tells the data apart from others, for a run's identity.
    """

    training: np.ndarray
    held_out: np.ndarray
    facts: dict[str, str]


def load(settings: DataSettings) -> Sequences:
    """All images of a data set, of whatever class.

    Raises:
        DataError: see `datasets.load_dataset`; or fewer than 20 images.
    """
    data = load_dataset(settings, 1).data
    ink = (data.images[..., 0] < _DARK).astype(np.uint8).reshape(len(data.images), -1)
    if len(ink) < _LEAST:
        raise DataError(f"{len(ink)} images are too few: give {_LEAST} or more.")
    is_held_out = np.arange(len(ink)) % _HELD_OUT_EVERY == 0
    facts = {"held_out": "every tenth image", "data_sha256": data.digest()}
    return Sequences(ink[~is_held_out], ink[is_held_out], facts)


def to_pixels(sequences: np.ndarray, image_size: int) -> np.ndarray:
    """0 and 1 [T, N] → uint8 [T, S, S, 1], dark ink on light paper."""
    paper = 1 - np.asarray(sequences).astype(np.uint8)
    return (255 * paper).reshape(-1, image_size, image_size, 1)


class SequenceSystem:
    """Reptile on the nats of images, pixel by pixel; see `core.system.System`."""

    metric_labels: Mapping[str, str] = MappingProxyType({"nats": "nats/pixel"})
    carried: tuple[tf.Variable, ...] = ()

    def __init__(self, settings: SequenceSettings, sequences: Sequences):
        self._settings = settings
        self._held_out = sequences.held_out
        self.constants = sequences.training
        weights = models.initial_weights(settings.network, settings.seed)
        self._names = list(weights)
        self.meta_weights = {"network": [tf.Variable(w) for w in weights.values()]}
        self._reader = Reader(settings)

    def make_optimizer(self) -> Adam:
        """Adam on Φ − W."""
        return Adam(self._settings.meta_learning_rate)

    def draw_task(self, constants: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """T random training images, float32 [T, N]."""
        count = self._settings.num_sequences
        chosen = tf.random.stateless_uniform(
            [count], seed, 0, constants.shape[0], tf.int32, alg="philox"
        )
        return tf.cast(tf.gather(constants, chosen), tf.float32)

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: tf.Tensor,
        seed: tf.Tensor,
    ) -> system.Adapted:
        """A step on each pixel of each image; W is the mean over the images.

        Where the whole loop is differentiated, W is one step of rate 1 down that gradient.
        """
        settings, start = self._settings, dict(zip(self._names, weights["network"], strict=True))
        spec, rate = settings.network, settings.inner_learning_rate
        if settings.has_gradient_through_steps:
            with tf.GradientTape() as tape:
                tape.watch(start)
                loss = tf.reduce_mean(recurrence.run(spec, start, rate, task).nats)
            slopes = tape.gradient(loss, start)
            adapted = tuple(w - slopes[name] for name, w in start.items())
        else:
            read = recurrence.run(spec, start, rate, task)
            loss = tf.reduce_mean(read.nats)
            adapted = tuple(tf.reduce_mean(read.weights[name], 0) for name in self._names)
        return system.Adapted({"network": adapted}, carried, {"nats": loss})

    def pictures(self, constants: Any) -> Iterator[Image.Image]:
        """Held-out images framed, samples below them."""
        size = self._settings.network.image_size
        seed = stateless_seed(self._settings.seed, EVALUATION)
        samples = self._reader.draw(self._named_weights(), 2 * _SHOWN_IMAGES, seed)
        shown = to_pixels(self._held_out[:: len(self._held_out) // _SHOWN_IMAGES], size)
        yield image_grid.task_picture(shown[:_SHOWN_IMAGES], to_pixels(samples.pixels, size))

    def report(self, constants: Any) -> dict[str, float]:
        """Nats per pixel of 32 held-out images; `figr_tf.evaluate_sequences` takes more."""
        some = self._held_out[:: max(1, len(self._held_out) // _REPORT_IMAGES)]
        nats = self._reader.read(self._named_weights(), some[:_REPORT_IMAGES]).nats
        return {"nats": float(tf.reduce_mean(nats))}

    def _named_weights(self) -> dict[str, tf.Tensor]:
        values = (v.read_value() for v in self.meta_weights["network"])
        return dict(zip(self._names, values, strict=True))


class Reader:
    """Reads and draws with any weights; each graph is built once."""

    def __init__(self, settings: SequenceSettings):
        spec, rate = settings.network, settings.inner_learning_rate
        self._length = spec.length
        weights = {n: tf.TensorSpec(s, tf.float32) for n, s in spec.shapes().items()}
        several = tf.TensorSpec([None, spec.length], tf.float32)
        self._read = tf.function(
            lambda w, given: recurrence.run(spec, w, rate, given),
            [weights, several],
            autograph=False,
        )
        self._draw = tf.function(
            lambda w, uniform: recurrence.run(spec, w, rate, uniform=uniform),
            [weights, several],
            autograph=False,
        )

    def read(self, weights: models.Weights, sequences: np.ndarray) -> Read:
        """Sequences of 0 and 1, [T, N]."""
        return self._read(dict(weights), tf.cast(sequences, tf.float32))

    def draw(self, weights: models.Weights, count: int, seed: tf.Tensor) -> Read:
        """New sequences; `seed` is int32 [2]."""
        shape = [count, self._length]
        return self._draw(dict(weights), tf.random.stateless_uniform(shape, seed, alg="philox"))


def prepare(settings: SequenceSettings) -> command.Training:
    """Loads the data of a run and says what is about to be trained.

    Raises:
        DataError: see `load`.
    """
    sequences = load(settings.data)
    network = settings.network
    how = "backpropagation through the sequence"
    if not network.is_recurrent:
        how = f"an SGD step of {settings.inner_learning_rate:g} on each; {settings.objective}"
    plan = (
        f"{settings.data.dataset}: {len(sequences.training)} training and"
        f" {len(sequences.held_out)} held-out images of {network.length} pixels\n"
        f"{network.network} network of width {network.width}, {how}; outer: Adam"
        f" {settings.meta_learning_rate:g}; {settings.num_meta_steps} meta-steps of"
        f" {settings.num_sequences} images"
    )
    return command.Training(
        settings, sequences.facts, {}, plan, lambda _: SequenceSystem(settings, sequences)
    )
