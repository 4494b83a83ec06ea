"""The energy score of samples against real drawings, in a space that gradients can pass through.

A strictly proper score (Gneiting & Raftery 2007, section 4.3): its mean is least when samples and
drawings follow the same law. So it rewards being right and being various at once, without an
adversary. In shapes, T counts tasks, m samples, r drawings, and d features.
"""

import numpy as np
import tensorflow as tf

from figr_common.blur import blur_features

_TINY = 1e-6  # Under the root of a distance, whose slope at 0 is infinite.


def distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Euclidean, [T, m, d] and [T, r, d] → [T, m, r]."""
    # |a − b|² = |a|² + |b|² − 2ab, which is one matrix product instead of m·r differences.
    squared = tf.reduce_sum(a * a, -1)[:, :, None] + tf.reduce_sum(b * b, -1)[:, None]
    squared -= 2.0 * tf.matmul(a, b, transpose_b=True)
    return tf.sqrt(tf.nn.relu(squared) + _TINY)


def _mean_of_pairs(points: tf.Tensor) -> tf.Tensor:
    """Mean distance of different points of [T, m, d] → [T]."""
    count = points.shape[1]
    between = distances(points, points)
    # The diagonal is subtracted, as it is not 0 but the root of `_TINY`.
    return (tf.reduce_sum(between, [1, 2]) - tf.linalg.trace(between)) / (count * (count - 1))


def energy_distance(samples: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
    """2·E‖g − r‖ − E‖g − g′‖ − E‖r − r′‖, for samples g and real drawings r.

    The means are U-statistics, over different points only: they have no bias towards few samples.

    Args:
        samples: [T, m, d], m ≥ 2.
        real: [T, r, d], r ≥ 2.

    Returns:
        [T]; negative values happen for very good samples.
    """
    between = tf.reduce_mean(distances(samples, real), [1, 2])
    return 2.0 * between - _mean_of_pairs(samples) - _mean_of_pairs(real)


def copying(real: tf.Tensor, num_copied: int) -> float:
    """Mean energy distance of copying the first `num_copied` drawings to the others.

    It is the unit in which a loss is told: 1 − loss is then the skill over copying.

    Args:
        real: [T, r, d], with r ≥ num_copied + 2.
    """
    copied, others = real[:, :num_copied], real[:, num_copied:]
    between = tf.reduce_mean(distances(copied, others), [1, 2])
    # Of two copies, one in `num_copied` pairs is the same drawing twice.
    own = _mean_of_pairs(copied) * (1.0 - 1.0 / num_copied)
    return float(tf.reduce_mean(2.0 * between - own - _mean_of_pairs(others)))


class BlurSpace:
    """As `figr_common.blur.blur_features`, in a form that gradients pass through.

    The blur is linear and separable, so it is one small matrix from the left and from the right.

    Args:
        image_size: S, an even number of pixels.
    """

    def __init__(self, image_size: int):
        # One image for each row, in which that row alone is inked.
        lines = np.repeat(np.eye(image_size)[:, :, None], image_size, axis=2)
        blurred = blur_features(np.rint(255 * (1 - lines))[..., None].astype(np.uint8))
        half = image_size // 2
        # Taken in the middle column, away from the rim, where a horizontal line is all there is.
        self._matrix = tf.constant(
            1.0 - blurred.reshape(image_size, half, half)[:, :, half // 2].T,
            tf.float32,
        )

    def __call__(self, ink: tf.Tensor) -> tf.Tensor:
        """Ink [B, S, S] in [0, 1] → features [B, (S/2)²]."""
        blurred = tf.einsum("oi,bij,pj->bop", self._matrix, ink, self._matrix)
        return tf.reshape(blurred, [-1, self._matrix.shape[0] ** 2])
