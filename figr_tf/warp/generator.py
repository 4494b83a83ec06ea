"""A generator that redraws the support: each sample is one of its images, in a pose and bent.

Every pixel comes from a drawing: a network that may paint learns to please the feature networks
that it is trained with (docs/experiments.md, 4). What is learned is how drawings of one character
differ.

In shapes, T counts tasks, n support images, m samples, S pixels of a side, F features.
"""

from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from figr_tf.core import random
from figr_tf.warp import geometry

_MAP_LATENTS = (4, 4, 2)  # The last 32 latents, as a map.
_POSE_SCALE = (0.25, 0.25, 2.0, 2.0)  # Brings differences of poses to about 1.
_POSE_STEP = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
# Of pose and linear map, per unit of a latent. By eye: a start from which samples already vary.
_LATENT_POSE_START = (0.6, 0.6, 0.08, 0.08, 0.05, 0.05, 0.05, 0.05)
_OWN_POSE_START = 0.5
# The width of strokes varies with the threshold. Within this range and at this contrast paper stays
# 0 and ink stays 1. A generator that may make either grey does so, since the blur space takes a
# paler drawing for a smaller one.
_THRESHOLD_RANGE, _CONTRAST = 0.3, 2.5
# The order of axes is ours too, whatever keras.json or a policy of the process says.
_DTYPE = "float32"
# Adam moves every weight by its rate; one that is multiplied by this, five times as far.
_FAST = 5.0


class Support(NamedTuple):
    """What all samples of T tasks share.

    Attributes:
        magnified: [T, n, 2S, 2S], ink at twice the resolution.
        poses: [T, n, 4], see `geometry`.
        features: [T, n, S/2, S/2, F], in the common frame.
    """

    magnified: tf.Tensor
    poses: tf.Tensor
    features: tf.Tensor


class Draw(NamedTuple):
    """The random part of m samples of T tasks.

    Attributes:
        latents: [T, m, latent_dim], standard normal.
        source: int32 [T, m], the support image that is redrawn.
        other: int32 [T, m], another one that is looked at; the same one where n = 1.
    """

    latents: tf.Tensor
    source: tf.Tensor
    other: tf.Tensor


def random_draw(shape: list, latent_dim: int, num_shots: int | tf.Tensor, seed: tf.Tensor) -> Draw:
    """A draw of `shape` [T, m] from support sets of `num_shots` images; `seed` is int32 [2]."""
    latent_seed, source_seed, other_seed = tf.unstack(tf.random.split(seed, 3, alg="philox"))
    latents = random.standard_normal([*shape, latent_dim], latent_seed)
    source = tf.random.stateless_uniform(shape, source_seed, 0, num_shots, tf.int32, "philox")
    steps = tf.random.stateless_uniform(
        shape, other_seed, 1, tf.maximum(num_shots, 2), tf.int32, "philox"
    )
    return Draw(latents, source, (source + steps) % num_shots)


class WarpGenerator(keras.Model):
    """Support ink and a `Draw` of m samples for each task → ink [T, m, S, S] in [0, 1].

    Args:
        image_size: S, a multiple of 16.
        latent_dim: at least 40: the last 32 are taken as a map.
        width: channels of the coarsest layers.
        seed: of the initial weights.
    """

    def __init__(self, image_size: int = 32, latent_dim: int = 64, width: int = 48, seed: int = 0):
        super().__init__(name="warp_generator", dtype=_DTYPE)
        seeds = random.kernel_seeds(seed)
        self.image_size, self.latent_dim = image_size, latent_dim
        self.encoder = (_conv(seeds, 12), _conv(seeds, 24))
        self.joint = _conv(seeds, 32)
        self.joint_latents = _dense(seeds, 32, gain=0.25, use_bias=False)
        self.coarse = tuple(_conv(seeds, width) for _ in range(3))
        self.coarse_latents = _dense(seeds, width, gain=0.5, use_bias=False)
        self.displacement = _conv(seeds, 2, gain=4e-4)
        self.pose_hidden = _dense(seeds, 48, gain=0.5)
        self.pose_change = _dense(seeds, 8, gain=2.5e-3)
        start = np.zeros((latent_dim, 8), np.float32)
        np.fill_diagonal(start, np.array(_LATENT_POSE_START) / _FAST)
        self.latent_pose = self._weight("latent_pose", start)
        self.own_pose = self._weight("own_pose", np.full(4, _OWN_POSE_START / _FAST, np.float32))
        self.latent_threshold = self._weight(
            "latent_threshold",
            np.zeros((latent_dim, 1), np.float32),
        )
        self.threshold = self._weight("threshold", np.zeros(1, np.float32))
        # Keras makes a layer's weights when it is called for the first time.
        blank = tf.zeros([1, 2, image_size, image_size])
        self((blank, random_draw([1, 1], latent_dim, 2, random.stateless_seed(0))))

    def _weight(self, name: str, start: np.ndarray):
        return self.add_weight(
            name=name,
            shape=start.shape,
            initializer=lambda shape, dtype=None: start,
        )

    def call(self, inputs: tuple[tf.Tensor, Draw]) -> tf.Tensor:
        """Support ink [T, n, S, S] in [0, 1] and a draw → samples, ink [T, m, S, S] in [0, 1]."""
        support_ink, draw = inputs
        return self.redraw(self.encode(support_ink), draw)

    def encode(self, support_ink: tf.Tensor) -> Support:
        """Support ink [T, n, S, S] in [0, 1] → what all samples of its tasks share."""
        num_tasks, num_shots = tf.unstack(tf.shape(support_ink)[:2])
        size = self.image_size
        ink = tf.reshape(support_ink, [-1, size, size])
        poses, magnified = geometry.poses(ink), geometry.magnified(ink)
        # Drawings and their poses are data: no gradient has anything to change in them.
        x = tf.stop_gradient(geometry.to_common_frame(magnified, poses, size))[..., None]
        x = tf.nn.avg_pool2d(_leaky(self.encoder[0](2 * x - 0.3)), 2, 2, "VALID")
        x = _leaky(self.encoder[1](x))
        per_task = [num_tasks, num_shots]
        return Support(
            tf.reshape(magnified, [*per_task, 2 * size, 2 * size]),
            tf.reshape(poses, [*per_task, 4]),
            tf.reshape(x, [*per_task, *x.shape[1:]]),
        )

    def redraw(self, support: Support, draw: Draw) -> tf.Tensor:
        """Samples of encoded support sets: ink [T, m, S, S] in [0, 1]."""
        num_tasks, num_samples = tf.unstack(tf.shape(draw.source))
        size = self.image_size
        latents = tf.reshape(draw.latents, [-1, self.latent_dim])
        coarse = self._coarse_features(support.features, draw, latents)
        source_pose = _pick(support.poses, draw.source)
        target, linear = self._pose(support.poses, draw, latents, tf.reduce_mean(coarse, [1, 2]))
        source = tf.stop_gradient(_pick(support.magnified, draw.source))
        ink = geometry.warp(source, source_pose, target, linear, self.displacement(coarse))
        threshold = 0.5 + _THRESHOLD_RANGE * tf.tanh(
            self.threshold + latents @ self.latent_threshold
        )
        ink = (ink - threshold[..., None]) * _CONTRAST + 0.5
        # Back to size S by means of 2×2: the antialiasing.
        quarters = tf.nn.space_to_depth(tf.clip_by_value(ink, 0.0, 1.0)[..., None], 2)
        return tf.reshape(tf.reduce_mean(quarters, -1), [num_tasks, num_samples, size, size])

    def _coarse_features(self, features: tf.Tensor, draw: Draw, latents: tf.Tensor) -> tf.Tensor:
        """What source, another image, the set's mean and the latents say: [T·m, 8, 8, width]."""
        source, other = _pick(features, draw.source), _pick(features, draw.other)
        mean = tf.repeat(tf.reduce_mean(features, 1), tf.shape(draw.source)[1], 0)
        x = self.joint(tf.concat([source, other, mean, mean - source], -1))
        x = _leaky(x + self.joint_latents(latents)[:, None, None])
        cells, points = self.image_size // 2, geometry.NUM_CONTROL_POINTS
        x = tf.nn.avg_pool2d(tf.concat([x, source], -1), cells // points, cells // points, "VALID")
        x = tf.concat([x, self._latent_map(latents, points)], -1)
        x = _leaky(self.coarse[0](x) + self.coarse_latents(latents)[:, None, None])
        x = _leaky(self.coarse[1](x))
        return x + _leaky(self.coarse[2](x))

    def _latent_map(self, latents: tf.Tensor, size: int) -> tf.Tensor:
        count = int(np.prod(_MAP_LATENTS))
        small = tf.reshape(latents[:, -count:], [-1, *_MAP_LATENTS])
        return 1.5 * tf.image.resize(small, [size, size])

    def _pose(
        self,
        poses: tf.Tensor,
        draw: Draw,
        latents: tf.Tensor,
        looks: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Poses [T, n, 4], mean features of each sample → its pose and linear map, [T·m, 4] each.

        A sample keeps a learned share of its source's distance from the set's mean pose.
        """
        num_samples = tf.shape(draw.source)[1]
        own, other = _pick(poses, draw.source), _pick(poses, draw.other)
        mean, spread = (
            tf.repeat(statistic(poses, 1), num_samples, 0)
            for statistic in (tf.reduce_mean, tf.math.reduce_std)
        )
        known = [
            part * _POSE_SCALE for part in (own - mean, other - mean, mean, spread, own - other)
        ]
        hidden = _leaky(self.pose_hidden(tf.concat([*known, latents], -1)))
        change = (
            self.pose_change(tf.concat([hidden, looks], -1)) + _FAST * latents @ self.latent_pose
        )
        change *= _POSE_STEP
        pose = mean + _FAST * self.own_pose * (own - mean) + change[:, :4]
        return pose, change[:, 4:]


def _leaky(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(x, 0.2)


def _initializer(seeds: Iterator[int], gain: float) -> keras.initializers.Initializer:
    """He et al. 2015, times √gain."""
    return keras.initializers.VarianceScaling(
        2.0 * gain,
        "fan_in",
        "untruncated_normal",
        next(seeds),
    )


def _conv(seeds: Iterator[int], filters: int, gain: float = 1.0) -> keras.layers.Conv2D:
    initializer = _initializer(seeds, gain)
    return keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        data_format="channels_last",
        kernel_initializer=initializer,
        dtype=_DTYPE,
    )


def _dense(
    seeds: Iterator[int],
    units: int,
    gain: float,
    use_bias: bool = True,
) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        kernel_initializer=_initializer(seeds, gain),
        use_bias=use_bias,
        dtype=_DTYPE,
    )


def _pick(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """[T, n, ...] and int32 [T, m] → [T·m, ...], sample by sample."""
    picked = tf.gather(values, index, batch_dims=1)
    return tf.reshape(picked, [-1, *values.shape[2:]])
