"""Binary drawings: 4×4 pixels of a file become one, which is ink where any of them is."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from figr_tf.core.random import split
from figr_tf.data.datasets import Dataset

POOL = 4  # Height and width of what becomes one pixel.
_DARK = 128  # A byte below is ink.
_CLASSES_AT_ONCE = 50


def decoded_size(image_size: int) -> int:
    """At which size files are decoded: Omniglot's own 105 for drawings of 26; 104 of it count."""
    return POOL * image_size + 1


def pooled(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, P, P, 1], dark ink → uint8 [N, S, S], ink 1 and paper 0; S is P // 4."""
    size = pixels.shape[1] // POOL
    kept = pixels[:, : size * POOL, : size * POOL, 0] < _DARK
    ink = kept.reshape(-1, size, POOL, size, POOL)
    return np.asarray(ink.any((2, 4)), np.uint8)


def to_pixels(drawings: np.ndarray) -> np.ndarray:
    """0 and 1 [N, S, S] → uint8 [N, S, S, 1], dark ink on light paper."""
    return (255 * (1 - np.asarray(drawings).astype(np.uint8)))[..., np.newaxis]


def to_ink(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N, S, S, 1], dark ink → uint8 [N, S, S], ink 1 and paper 0."""
    return (pixels[..., 0] < _DARK).astype(np.uint8)


class Drawings(NamedTuple):
    """Drawings of some classes, those of one class next to each other.

    Attributes:
        ink: uint8 [N, S, S], ink 1 and paper 0.
        starts, counts: int32 [classes], index of a class's first drawing and how many it has.
    """

    ink: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def of(self, number: int) -> np.ndarray:
        """All drawings of a class: uint8 [count, S, S]."""
        return self.ink[self.starts[number] :][: self.counts[number]]


def drawings_of(dataset: Dataset, class_names: tuple[str, ...]) -> Drawings:
    """Those classes alone, in that order."""
    # Some classes at a time: all of Omniglot's pixels are 358 MB.
    starts = range(0, len(class_names), _CLASSES_AT_ONCE)
    some = (dataset.images_of(class_names[i : i + _CLASSES_AT_ONCE]) for i in starts)
    parts = [pooled(np.concatenate(list(images.values()))) for images in some]
    counts = np.array([dataset.data.counts[name] for name in class_names], np.int32)
    return Drawings(np.concatenate(parts), (np.cumsum(counts) - counts).astype(np.int32), counts)


class TaskForm(NamedTuple):
    """What a training task is drawn from: drawings of a task, classes, drawings of the largest."""

    num_drawings: int
    class_count: int
    largest: int


def draw_task(drawings: Drawings, form: TaskForm, seed: tf.Tensor) -> tf.Tensor:
    """Different drawings of a random class, drawn on the device: float32 [num_drawings, S, S].

    Args:
        drawings: its arrays as tensors.
        seed: int32 [2].
    """
    class_seed, image_seed = split(seed, 2)
    number = tf.random.stateless_uniform(
        [], class_seed, 0, form.class_count, tf.int32, alg="philox"
    )
    start, count = tf.gather(drawings.starts, number), tf.gather(drawings.counts, number)
    ranks = tf.random.stateless_uniform([form.largest], image_seed, alg="philox")
    ranks = tf.where(tf.range(form.largest) < count, ranks, -1.0)
    chosen = tf.math.top_k(ranks, form.num_drawings).indices
    return tf.cast(tf.gather(drawings.ink, start + chosen), tf.float32)


def moved(drawings: tf.Tensor, max_shift: int, seed: tf.Tensor) -> tf.Tensor:
    """Each drawing [B, S, S] at a place of its own, up to `max_shift` pixels off along either axis.

    Ink that leaves the picture is lost, and paper comes in. `seed` is int32 [2].
    """
    if max_shift == 0:
        return drawings
    size = drawings.shape[1]
    room = [max_shift, max_shift]
    wide = tf.pad(drawings, [[0, 0], room, room])
    corners = tf.random.stateless_uniform(
        [2, tf.shape(drawings)[0], 1], seed, 0, 2 * max_shift + 1, tf.int32, alg="philox"
    )
    rows, columns = tf.unstack(corners + tf.range(size))
    wide = tf.gather(wide, rows, axis=1, batch_dims=1)
    return tf.gather(wide, columns, axis=2, batch_dims=1)


def minibatches(num_drawings: int, size: int, count: int, seed: tf.Tensor) -> tf.Tensor:
    """int32 [count, size]: which drawings make up each inner step's batch, none twice in one."""
    ranks = tf.random.stateless_uniform([count, num_drawings], seed, alg="philox")
    return tf.math.top_k(ranks, size).indices
