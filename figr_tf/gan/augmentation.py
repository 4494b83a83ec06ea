"""What stands in for more drawings of a class than there are: variations of its support set."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from figr_tf.gan.draws import choose


class Augmentation(NamedTuple):
    """A way to vary a support set.

    Attributes:
        vary: support images [n, H, W, C] in [−1, 1], paper 1, and an int32 [2] seed → images
            [m, H, W, C] likewise.
        variables: that `vary` reads, for whoever exports it.
    """

    vary: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    variables: tuple[tf.Variable, ...] = ()


_DEGREES, _SHARE, _PIXELS = 10.0, 0.1, 1.0  # As the reference row "support + small affine".


def jitter(count: int) -> Augmentation:
    """Moves each of `count` copies by its own affine map: ±10°, ±10 % scale and shear, ±1 pixel.

    Args:
        count: images that come out of a support set.
    """

    def augment(support_images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        choice_seed, map_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        images = choose(support_images, count, choice_seed)
        amounts = tf.random.stateless_uniform([6, count], map_seed, -1.0, 1.0, alg="philox")
        return affine(images, amounts)

    return Augmentation(augment)


def affine(images: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Images [B, S, S, C] under affine maps about their centres; bilinear, paper outside.

    Args:
        amounts: [6, B], in units of the largest: angle, scale in x and y, shear, shift in x and y.
    """
    angle, scale_x, scale_y, shear, shift_x, shift_y = tf.unstack(amounts)
    angle *= _DEGREES / 180.0 * 3.14159265
    scale_x, scale_y, shear = 1 + _SHARE * scale_x, 1 + _SHARE * scale_y, _SHARE * shear
    cos, sin = tf.cos(angle), tf.sin(angle)
    a, b = cos * scale_x, cos * shear - sin * scale_y
    c, d = sin * scale_x, sin * shear + cos * scale_y
    # The operation turns about the corner; the offsets move the centre back to its place.
    centre = (images.shape[1] - 1) / 2
    x0 = centre - a * centre - b * centre + _PIXELS * shift_x
    y0 = centre - c * centre - d * centre + _PIXELS * shift_y
    # The last two of the eight numbers would be a perspective.
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x0, c, d, y0, zero, zero], 1),
        output_shape=images.shape[1:3],
        fill_value=1.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
