"""Tasks: a few classes, some images of each, and the order in which an inner loop sees them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from figr_common import scaling
from figr_tf.core.errors import DataError
from figr_tf.core.random import split
from figr_tf.data.datasets import Dataset

_NUM_TURNS = 4


class Drawings(NamedTuple):
    """Images of some classes, those of one class next to each other.

    Attributes:
        pixels: uint8 [N, S, S, C].
        starts, counts: int32 [classes], index of a class's first image and how many it has.
    """

    pixels: np.ndarray
    starts: np.ndarray
    counts: np.ndarray


def drawings_of(dataset: Dataset, class_names: tuple[str, ...]) -> Drawings:
    """Those classes alone, in that order."""
    starts, counts = dataset.data.starts(), dataset.data.counts
    numbers = np.array([counts[name] for name in class_names], np.int32)
    chosen = [np.arange(starts[name], starts[name] + counts[name]) for name in class_names]
    # A copy of these classes alone, in which a class is a start and a count.
    pixels = np.asarray(dataset.data.images[np.concatenate(chosen)])
    return Drawings(pixels, _starts(numbers), numbers)


def _starts(counts: np.ndarray) -> np.ndarray:
    return (np.cumsum(counts) - counts).astype(np.int32)


def with_turns(drawings: Drawings) -> Drawings:
    """Each class in four turns: four times the classes (Santoro et al. 2016)."""
    turned = [np.rot90(drawings.pixels, k, axes=(1, 2)) for k in range(_NUM_TURNS)]
    counts = np.tile(drawings.counts, _NUM_TURNS)
    return Drawings(np.concatenate(turned), _starts(counts), counts)


def require(
    dataset: Dataset,
    class_names: tuple[str, ...],
    num_classes: int,
    num_images: int,
) -> None:
    """Raises DataError unless tasks of so many classes, so many images of each, can be drawn."""
    counts = [dataset.data.counts[name] for name in class_names]
    side = "held-out" if class_names == dataset.split.held_out else "training"
    if len(counts) < num_classes:
        raise DataError(
            f"tasks of {num_classes} classes cannot be drawn from {len(counts)} {side} classes."
            " Ask for fewer classes, or give another data set or split."
        )
    if min(counts) < num_images:
        raise DataError(
            f"tasks need {num_images} images of a class (each query is one of them); the smallest"
            f" {side} class has {min(counts)}. Ask for fewer shots."
        )


def unit_range(pixels: tf.Tensor | np.ndarray) -> tf.Tensor:
    """uint8 → float32 in [0, 1]: paper 1, ink 0, as the published networks see them."""
    return scaling.bytes_to_unit(tf.cast(pixels, tf.float32))


def _draw_different(count: int, shape: list[int], seed: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """int32 [rows, count]: different numbers below `sizes` [rows]; shape [rows, most]."""
    # The places of the largest of random numbers are different random places. A smaller class fills
    # up with −1, which is never among the largest, since numbers are 0 or more.
    ranks = tf.random.stateless_uniform(shape, seed, alg="philox")
    ranks = tf.where(tf.range(shape[1]) < sizes[:, tf.newaxis], ranks, -1.0)
    return tf.math.top_k(ranks, count).indices


class TaskForm(NamedTuple):
    """What a training task is drawn from: classes, images of each, and images of the largest."""

    num_classes: int
    num_shots: int
    class_count: int
    largest: int


def draw_images(drawings: Drawings, form: TaskForm, seed: tf.Tensor) -> tf.Tensor:
    """Different classes and different images of each, drawn on the device.

    Args:
        drawings: its arrays as tensors.
        seed: int32 [2].

    Returns:
        float32 [classes, shots, S, S, C] in [0, 1].
    """
    # Two seeds, so that the images drawn do not depend on the classes drawn.
    class_seed, image_seed = split(seed, 2)
    all_classes = tf.constant([form.class_count])
    classes = _draw_different(form.num_classes, [1, form.class_count], class_seed, all_classes)[0]
    starts, counts = tf.gather(drawings.starts, classes), tf.gather(drawings.counts, classes)
    shape = [form.num_classes, form.largest]
    chosen = _draw_different(form.num_shots, shape, image_seed, counts)
    return unit_range(tf.gather(drawings.pixels, starts[:, tf.newaxis] + chosen))


def minibatches(
    num_images: int | tf.Tensor,
    batch_size: int,
    num_batches: int | tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """int32 [num_batches, batch_size]: every image once before any comes again, in random order.

    As in the published code a batch goes on into the next order where one is used up, and batches
    are not balanced by class.
    """
    num_orders = -(-num_batches * batch_size // num_images)  # Rounded up.
    # Each row of random numbers sorts into one order of all images.
    ranks = tf.random.stateless_uniform([num_orders, num_images], seed, alg="philox")
    orders = tf.reshape(tf.argsort(ranks), [-1])
    return tf.reshape(orders[: num_batches * batch_size], [num_batches, batch_size])


def flat(images: tf.Tensor | np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """[classes, shots, S, S, C] → all images [N, S, S, C] and their labels, int32 [N]."""
    num_classes, num_shots = images.shape[:2]
    labels = tf.constant(np.repeat(np.arange(num_classes, dtype=np.int32), num_shots))
    return tf.reshape(images, [num_classes * num_shots, *images.shape[2:]]), labels


class Episode(NamedTuple):
    """A held-out task, as indices into `Drawings.pixels`.

    Attributes:
        support: int [classes, shots]. queries: int [classes], one of each class.
    """

    support: np.ndarray
    queries: np.ndarray


def held_out_episode(
    drawings: Drawings,
    num_classes: int,
    num_shots: int,
    seed: int,
    number: int,
) -> Episode:
    """Number `number` of the tasks of a seed, whatever the others are."""
    # From both numbers, so that a longer list of tasks begins with the shorter one's.
    rng = np.random.default_rng([seed, number])
    classes = rng.choice(len(drawings.counts), num_classes, replace=False)
    # The query comes out of the same draw, so it is never one of the support.
    chosen = [rng.choice(drawings.counts[c], num_shots + 1, replace=False) for c in classes]
    images = drawings.starts[classes][:, np.newaxis] + np.stack(chosen)
    return Episode(images[:, :-1], images[:, -1])
