"""Small functions of nested weights."""

import hashlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def subtract(a: Any, b: Any) -> Any:
    """a − b, weight by weight."""
    return tf.nest.map_structure(tf.subtract, a, b)


def sha256(variables: Iterable[tf.Variable]) -> str:
    """Of their values in this order, in hexadecimal."""
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in variables)).hexdigest()


def next_average(average: Any, weights: Any, decay: float, steps_before: tf.Tensor) -> Any:
    """An exponential average of weights, one step on.

    Its decay rises from 0.1, so that the untrained start is soon forgotten.

    Args:
        average, weights: nested alike.
        decay: what it rises to, in [0, 1).
        steps_before: int [], steps so far, skipped ones included.
    """
    # (1 + t) / (10 + t), as tf.train.ExponentialMovingAverage begins.
    count = tf.cast(steps_before, tf.float32)
    now = tf.minimum(decay, (count + 1.0) / (count + 10.0))
    return tf.nest.map_structure(lambda a, w: a + (1.0 - now) * (w - a), average, weights)
