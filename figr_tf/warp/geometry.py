"""Geometry of drawings: pose, common frame, smooth displacements, sampling.

Pure functions, no weights. Ink images are float [B, S, S], paper 0, ink 1. Coordinates are pixels
from the image's centre, x to the right and y down. A pose is [B, 4]: centroid x, y and the
logarithms of the widths in x and y. In the common frame of a pose the centroid is 0 and the width 1
along either axis.
"""

import tensorflow as tf

NUM_CONTROL_POINTS = 8
FRAME_RADIUS = 2.7  # The common frame reaches from −2.7 to 2.7 widths; a uniform bar ends at √3.
_EVEN_PAPER = 1e-4  # Of ink in every pixel, so that a blank image has a pose.
# What a width is at least: a share of the diagonal width, and half a pixel. A straight line has no
# width across.
_WIDTH_SHARE, _WIDTH_PIXELS = 0.1, 0.5


def pixel_positions(size: int, per_pixel: int = 1) -> tf.Tensor:
    """[size · per_pixel] coordinates of points, evenly spread, `per_pixel` in every pixel."""
    count = size * per_pixel
    return (tf.range(count, dtype=tf.float32) + 0.5) / per_pixel - size / 2


def poses(ink: tf.Tensor) -> tf.Tensor:
    """Ink [B, S, S] → poses [B, 4], from the first and second moments of the ink."""
    positions = pixel_positions(ink.shape[1])
    ink = ink + _EVEN_PAPER
    total = tf.reduce_sum(ink, [1, 2])[:, None]
    centres, variances = [], []
    for axis in (1, 2):  # summed over rows: the profile along x; over columns: along y
        profile = tf.reduce_sum(ink, axis) / total
        centre = tf.reduce_sum(profile * positions, 1, keepdims=True)
        centres.append(centre)
        variances.append(tf.reduce_sum(profile * tf.square(positions - centre), 1, keepdims=True))
    least = _WIDTH_SHARE * (variances[0] + variances[1]) + _WIDTH_PIXELS
    return tf.concat([*centres, *[0.5 * tf.math.log(v + least) for v in variances]], 1)


def magnified(ink: tf.Tensor) -> tf.Tensor:
    """Ink [B, S, S] → [B, 2S, 2S], bicubic, clipped to [0, 1]."""
    size = 2 * ink.shape[1]
    return tf.clip_by_value(
        tf.image.resize(ink[..., None], [size, size], "bicubic")[..., 0],
        0.0,
        1.0,
    )


def sample(ink: tf.Tensor, x: tf.Tensor, y: tf.Tensor, extent: int) -> tf.Tensor:
    """Bilinear values of images at points; paper outside.

    Args:
        ink: [B, M, M].
        x, y: [B, H, W], in pixels from the centre.
        extent: the size in pixels of what the M×M values show.

    Returns:
        [B, H, W].
    """
    size = ink.shape[1]
    padded = tf.reshape(tf.pad(ink, [[0, 0], [1, 1], [1, 1]]), [-1, (size + 2) ** 2])
    # To indices of the padded image; whatever lies farther out than its rim is paper as well.
    x, y = (
        tf.clip_by_value((p + extent / 2) * (size / extent) + 0.5, 0.0, size + 0.999)
        for p in (x, y)
    )
    left, top = tf.floor(x), tf.floor(y)
    corner = tf.cast(top, tf.int32) * (size + 2) + tf.cast(left, tf.int32)
    right_share, low_share = x - left, y - top

    def row(offset):
        first, second = (tf.gather(padded, corner + offset + i, batch_dims=1) for i in (0, 1))
        return first * (1 - right_share) + second * right_share

    return row(0) * (1 - low_share) + row(size + 2) * low_share


def to_common_frame(magnified_ink: tf.Tensor, pose: tf.Tensor, size: int) -> tf.Tensor:
    """Drawings in the common frame of their poses.

    Args:
        magnified_ink: [B, 2S, 2S], see `magnified`.
        pose: [B, 4].
        size: S.

    Returns:
        [B, S, S].
    """
    positions = pixel_positions(size) * (FRAME_RADIUS / (size / 2))
    x = pose[:, 0:1] + tf.exp(pose[:, 2:3]) * positions
    y = pose[:, 1:2] + tf.exp(pose[:, 3:4]) * positions
    x, y = tf.repeat(x[:, None, :], size, 1), tf.repeat(y[:, :, None], size, 2)
    return sample(magnified_ink, x, y, size)


def bspline_weights(positions: tf.Tensor) -> tf.Tensor:
    """Weights of the control points: uniform cubic B-splines.

    Args:
        positions: [B, P], in the common frame.

    Returns:
        [B, P, C], C = `NUM_CONTROL_POINTS`; they add up to 1.
    """
    scaled = (positions + FRAME_RADIUS) * (NUM_CONTROL_POINTS / (2 * FRAME_RADIUS)) - 0.5
    scaled = tf.clip_by_value(scaled, -0.5, NUM_CONTROL_POINTS - 0.5)
    distance = tf.abs(scaled[..., None] - tf.range(NUM_CONTROL_POINTS, dtype=tf.float32))
    near = 2 / 3 - tf.square(distance) + distance**3 / 2
    weights = tf.where(distance < 1, near, tf.nn.relu(2 - distance) ** 3 / 6)
    # At the rim the outer splines are missing.
    return weights / tf.reduce_sum(weights, -1, keepdims=True)


def warp(
    magnified_ink: tf.Tensor,
    source: tf.Tensor,
    target: tf.Tensor,
    linear: tf.Tensor,
    control: tf.Tensor,
):
    """Redraws images with poses `source` [B, 4] in the poses `target`, displaced.

    Args:
        magnified_ink: [B, 2S, 2S], see `magnified`.
        linear: [B, 4], what is added to the identity as a 2×2 map of the common frame, row by row.
        control: [B, C, C, 2], displacements (x, y) of the control points in the common frame.

    Returns:
        [B, 2S, 2S], four values for every pixel.
    """
    size = magnified_ink.shape[1] // 2
    positions = pixel_positions(size, per_pixel=2)
    # From the sample back to its source, so that every point of the sample gets a value.
    u = (positions - target[:, 0:1]) * tf.exp(-target[:, 2:3])
    v = (positions - target[:, 1:2]) * tf.exp(-target[:, 3:4])
    displacement = tf.einsum("bai,bijc,bdj->badc", bspline_weights(v), control, bspline_weights(u))
    u = u[:, None, :] + displacement[..., 0]
    v = v[:, :, None] + displacement[..., 1]
    xx, xy, yx, yy = (linear[:, i, None, None] for i in range(4))
    moved_u, moved_v = (1 + xx) * u + xy * v, yx * u + (1 + yy) * v
    x = source[:, 0, None, None] + tf.exp(source[:, 2, None, None]) * moved_u
    y = source[:, 1, None, None] + tf.exp(source[:, 3, None, None]) * moved_v
    return sample(magnified_ink, x, y, size)
