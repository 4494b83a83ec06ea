"""Reading by gradient descent, as the core sees it: a task is a few sequences side by side."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_tf.core import command, system
from figr_tf.core.optimizers import Adam
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.data.settings import DataSettings
from figr_tf.sequences import data, images, networks, recurrence, text
from figr_tf.sequences.data import Sequences
from figr_tf.sequences.recurrence import Read
from figr_tf.sequences.settings import SequenceSettings
from figr_tf.sequences.text import TextSettings

_REPORTED, _SHOWN, _SAMPLES = 32, 8, 16


def load(settings: DataSettings | TextSettings) -> Sequences:
    """The sequences that these settings describe.

    Raises:
        DataError: see `images.load` and `text.load`.
    """
    if isinstance(settings, TextSettings):
        return text.load(settings)
    return images.load(settings)


class Training(NamedTuple):
    """What training reads: see `Sequences`."""

    stream: tf.Tensor
    starts: tf.Tensor


class SequenceSystem:
    """Reptile on the nats of sequences, place by place; see `core.system.System`."""

    carried: tuple[tf.Variable, ...] = ()

    def __init__(self, settings: SequenceSettings, sequences: Sequences):
        self._settings = settings
        self._sequences = sequences
        self.constants = Training(sequences.stream, sequences.starts)
        self.metric_labels: Mapping[str, str] = {"nats": f"nats/{settings.network.unit}"}
        weights = networks.initial_weights(settings.network, settings.seed)
        self._names = list(weights)
        self.meta_weights = {"network": [tf.Variable(w) for w in weights.values()]}
        self._reader = Reader(settings)

    def make_optimizer(self) -> Adam:
        """Adam on Φ − W."""
        return Adam(self._settings.meta_learning_rate)

    def draw_task(self, constants: Training, seed: tf.Tensor) -> tf.Tensor:
        """T random training sequences, float32 [T, N]."""
        count, length = self._settings.num_sequences, self._settings.network.length
        chosen = tf.random.stateless_uniform(
            [count], seed, 0, constants.starts.shape[0], tf.int32, alg="philox"
        )
        places = tf.gather(constants.starts, chosen)[:, tf.newaxis] + tf.range(
            length, dtype=tf.int64
        )
        return tf.cast(tf.gather(constants.stream, places), tf.float32)

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: tf.Tensor,
        seed: tf.Tensor,
    ) -> system.Adapted:
        """A step at each place of each sequence; W is the mean over the sequences.

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
        """Held-out sequences, samples below them."""
        seed = stateless_seed(self._settings.seed, EVALUATION)
        samples = self._reader.draw(self._named_weights(), _SAMPLES, seed).targets
        shown = data.spread(self._sequences.held_out, _SHOWN)
        yield self._sequences.picture(shown, samples.numpy())

    def report(self, constants: Any) -> dict[str, float]:
        """Mean nats of 32 held-out sequences; `figr_tf.evaluate_sequences` takes more."""
        some = data.spread(self._sequences.held_out, _REPORTED)
        return {"nats": float(tf.reduce_mean(self._reader.read(self._named_weights(), some).nats))}

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

    def read(self, weights: networks.Weights, sequences: np.ndarray) -> Read:
        """Sequences of classes, [T, N]."""
        return self._read(dict(weights), tf.cast(sequences, tf.float32))

    def draw(self, weights: networks.Weights, count: int, seed: tf.Tensor) -> Read:
        """New sequences; `seed` is int32 [2]."""
        shape = [count, self._length]
        return self._draw(dict(weights), tf.random.stateless_uniform(shape, seed, alg="philox"))


def prepare(settings: SequenceSettings) -> command.Training:
    """Loads the data of a run and says what is about to be trained.

    Raises:
        DataError: see `load`.
    """
    sequences = load(settings.data)
    network = dataclasses.replace(settings.network, num_classes=sequences.num_classes)
    settings = dataclasses.replace(settings, network=network)
    how = "backpropagation through the sequence"
    if not network.is_recurrent:
        how = f"an SGD step of {settings.inner_learning_rate:g} on each; {settings.objective}"
    plan = (
        f"{settings.data.dataset}: {sequences.summary} of {network.length} {network.unit}s\n"
        f"{network.network} network of width {network.width}, {how}; outer: Adam"
        f" {settings.meta_learning_rate:g}; {settings.num_meta_steps} meta-steps of"
        f" {settings.num_sequences} {sequences.items}"
    )
    return command.Training(
        settings,
        sequences.facts,
        sequences.files,
        plan,
        lambda _: SequenceSystem(settings, sequences),
    )
