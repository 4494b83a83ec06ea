"""Random streams. Every draw is a function of a seed and of its place; none has a state."""

import random
from collections.abc import Iterator

import tensorflow as tf

# Streams of a run's seed: what it trains on, and the held-out tasks that it shows.
TRAINING, EVALUATION = 0, 1


def stateless_seed(seed: int | tf.Tensor, *path: int | tf.Tensor) -> tf.Tensor:
    """int32 [2] seed of one stream: `seed` (int64 at most) folded with each integer of `path`."""
    # Both words of the seed, the low one first.
    stream = tf.bitcast(tf.cast(seed, tf.int64), tf.int32)
    for part in path:
        # Philox, by name: the algorithm that TensorFlow chooses by itself depends on the device.
        stream = tf.random.fold_in(stream, part, alg="philox")
    return stream


def split(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """`count` independent seeds, int32 [2] each, from one."""
    return tf.unstack(tf.random.split(seed, count, alg="philox"))


def standard_normal(shape: list, seed: tf.Tensor) -> tf.Tensor:
    """float32 of `shape`; `seed` is int32 [2]."""
    return tf.random.stateless_normal(shape, seed, alg="philox")


def kernel_seeds(seed: int) -> Iterator[int]:
    """Endlessly many seeds for initial kernels.

    They are those that Keras draws for one kernel after another once it was told
    `keras.utils.set_random_seed(seed)`, but from no generator that others draw from.
    """
    generator = random.Random(seed)
    while True:
        yield generator.randint(1, 10**9)
