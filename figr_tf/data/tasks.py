"""Tasks: one class and a support set of it, drawn on the device from images that stay there."""

import numpy as np
import tensorflow as tf

from figr_common import scaling
from figr_tf.data.class_images import ClassImages


class TaskSampler:
    """Draws support sets without replacement from some classes of a data set.

    A draw is a handful of small operations on the device that holds the images, so a compiled
    meta-step never waits for the host.

    Args:
        class_names: the classes to draw from, each with at least `num_shots` images.
        class_rotations: whether `random_support_images` turns a support set by 0°, 90°, 180° or
            270°, at random. A turned character is another character, so there are four times the
            classes (Santoro et al. 2016).
    """

    def __init__(
        self,
        data: ClassImages,
        class_names: tuple[str, ...],
        num_shots: int,
        class_rotations: bool = False,
    ):
        starts = data.starts()
        self.class_names = class_names
        self._num_shots = num_shots
        self._class_rotations = class_rotations
        self._starts = tf.constant(np.array([starts[name] for name in class_names], np.int32))
        self._counts = tf.constant(np.array([data.counts[name] for name in class_names], np.int32))
        # Of the largest class: a compiled graph has one shape for all of them.
        self._max_count = max(data.counts[name] for name in class_names)

    def support_images(
        self, pixels: tf.Tensor, class_index: int | tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        """num_shots different images of one class: float32 [n, H, W, C] in [−1, 1].

        Args:
            pixels: a device's copy of `data.images`, uint8 [N, H, W, C].
            seed: int32 [2].
        """
        # tf.gather, not [class_index]: XLA would take the index for a constant, and compile anew
        # for each class.
        start, count = (tf.gather(numbers, class_index) for numbers in (self._starts, self._counts))
        # The n largest of one random number per image are a draw without replacement; images of
        # other classes lose.
        draw = tf.random.stateless_uniform([self._max_count], seed, alg="philox")
        draw = tf.where(tf.range(self._max_count) < count, draw, -1.0)
        chosen = tf.math.top_k(draw, self._num_shots, sorted=True).indices
        pixels = tf.gather(pixels, start + chosen)
        return scaling.bytes_to_signed(tf.cast(pixels, tf.float32))

    def random_support_images(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A support set of a random class, all of it turned alike; see `support_images`."""
        class_seed, image_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        class_index = tf.random.stateless_uniform(
            [], class_seed, 0, len(self.class_names), tf.int32, alg="philox"
        )
        support = self.support_images(pixels, class_index, image_seed)
        if not self._class_rotations:
            return support
        turns = tf.random.stateless_uniform(
            [], tf.random.fold_in(class_seed, 0, alg="philox"), 0, 4, tf.int32, "philox"
        )
        return tf.gather(tf.stack([tf.image.rot90(support, k) for k in range(4)]), turns)
