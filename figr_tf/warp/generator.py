"""A generator that redraws the support: each sample is one support image in a pose and with bends of its own.

Every pixel comes from a drawing: a network that may paint learns to please the feature networks that it is trained with
(docs/experiments.md, 4). What is learned is how drawings of one character differ.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from figr_tf import adaptation
from figr_tf.warp import geometry

_MAP_LATENTS = (4, 4, 2)  # the last 32 latents, as a map
_POSE_SCALE = (0.25, 0.25, 2.0, 2.0)  # brings differences of poses to about 1
_POSE_STEP = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
_LATENT_POSE_START = (0.6, 0.6, 0.08, 0.08, 0.05, 0.05, 0.05, 0.05)  # pose and linear map per unit latent
_OWN_POSE_START = 0.5
# The width of strokes varies with the threshold. Within this range and at this contrast paper stays 0 and ink stays 1:
# a generator that may make either grey does so, since the blur space takes a paler drawing for a smaller one.
_THRESHOLD_RANGE, _CONTRAST = 0.3, 2.5
_FAST = 5.0  # Adam moves every weight by its rate; those that are multiplied by this, five times as far


class Support(NamedTuple):
    """What all samples of T tasks share.

    Attributes:
        magnified: [T, n, 2S, 2S]. poses: [T, n, 4]. features: [T, n, S/2, S/2, F], in the common frame.
    """

    magnified: tf.Tensor
    poses: tf.Tensor
    features: tf.Tensor


class Draw(NamedTuple):
    """The random part of m samples of T tasks.

    Attributes:
        latents: [T, m, latent_dim], standard normal.
        source, other: int32 [T, m], the support image that is redrawn, and another one that is looked at.
    """

    latents: tf.Tensor
    source: tf.Tensor
    other: tf.Tensor


def random_draw(shape: list, latent_dim: int, num_shots: int | tf.Tensor, seed: tf.Tensor) -> Draw:
    """A draw of `shape` [T, m] from support sets of `num_shots`; `seed` is int32 [2]."""
    latent_seed, source_seed, other_seed = tf.unstack(tf.random.split(seed, 3, alg="philox"))
    latents = adaptation.draw_latents([*shape, latent_dim], latent_seed)
    source = tf.random.stateless_uniform(shape, source_seed, 0, num_shots, tf.int32, "philox")
    steps = tf.random.stateless_uniform(shape, other_seed, 1, tf.maximum(num_shots, 2), tf.int32, "philox")
    return Draw(latents, source, (source + steps) % num_shots)


class WarpGenerator(keras.Model):
    """Support ink [T, n, S, S] and a `Draw` of m samples for each task → ink [T, m, S, S] in [0, 1].

    Args:
        image_size: S. latent_dim: at least 40. width: channels of the coarsest layers.
        seed: of the initial weights.
    """

    def __init__(self, image_size: int = 32, latent_dim: int = 64, width: int = 48, seed: int = 0):
        super().__init__(name="warp_generator")
        keras.utils.set_random_seed(seed)
        self.image_size, self.latent_dim = image_size, latent_dim
        self.encoder = (_conv(12), _conv(24))
        self.joint, self.joint_latents = _conv(32), _dense(32, gain=0.25, use_bias=False)
        self.coarse, self.coarse_latents = tuple(_conv(width) for _ in range(3)), _dense(width, 0.5, use_bias=False)
        self.displacement = _conv(2, gain=4e-4)
        self.pose_hidden, self.pose_change = _dense(48, gain=0.5), _dense(8, gain=2.5e-3)
        start = np.zeros((latent_dim, 8), np.float32)
        np.fill_diagonal(start, np.array(_LATENT_POSE_START) / _FAST)
        self.latent_pose = self._weight("latent_pose", start)
        self.own_pose = self._weight("own_pose", np.full(4, _OWN_POSE_START / _FAST, np.float32))
        self.latent_threshold = self._weight("latent_threshold", np.zeros((latent_dim, 1), np.float32))
        self.threshold = self._weight("threshold", np.zeros(1, np.float32))
        blank = tf.zeros([1, 2, image_size, image_size])
        self((blank, random_draw([1, 1], latent_dim, 2, adaptation.stateless_seed(0))))

    def _weight(self, name: str, start: np.ndarray):
        return self.add_weight(name=name, shape=start.shape, initializer=lambda shape, dtype=None: start)

    def call(self, inputs: tuple[tf.Tensor, Draw]) -> tf.Tensor:
        support_ink, draw = inputs
        return self.redraw(self.encode(support_ink), draw)

    def encode(self, support_ink: tf.Tensor) -> Support:
        num_tasks, num_shots = tf.unstack(tf.shape(support_ink)[:2])
        size = self.image_size
        ink = tf.reshape(support_ink, [-1, size, size])
        poses, magnified = geometry.poses(ink), geometry.magnified(ink)
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
        num_tasks, num_samples = tf.unstack(tf.shape(draw.source))
        size = self.image_size
        latents = tf.reshape(draw.latents, [-1, self.latent_dim])
        coarse = self._coarse_features(support.features, draw, latents)
        source_pose = _pick(support.poses, draw.source)
        target, linear = self._pose(support.poses, draw, latents, tf.reduce_mean(coarse, [1, 2]))
        source = tf.stop_gradient(_pick(support.magnified, draw.source))
        ink = geometry.warp(source, source_pose, target, linear, self.displacement(coarse))
        threshold = 0.5 + _THRESHOLD_RANGE * tf.tanh(self.threshold + latents @ self.latent_threshold)
        ink = (ink - threshold[..., None]) * _CONTRAST + 0.5
        quarters = tf.nn.space_to_depth(tf.clip_by_value(ink, 0.0, 1.0)[..., None], 2)
        return tf.reshape(tf.reduce_mean(quarters, -1), [num_tasks, num_samples, size, size])

    def _coarse_features(self, features: tf.Tensor, draw: Draw, latents: tf.Tensor) -> tf.Tensor:
        """What the source, another image, the mean of the set and the latents say together: [T·m, 8, 8, width]."""
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
        small = tf.reshape(latents[:, -int(np.prod(_MAP_LATENTS)) :], [-1, *_MAP_LATENTS])
        return 1.5 * tf.image.resize(small, [size, size])

    def _pose(self, poses: tf.Tensor, draw: Draw, latents: tf.Tensor, looks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Poses [T, n, 4] of the support and the mean features of each sample → its pose, its linear map, [T·m, 4]."""
        num_samples = tf.shape(draw.source)[1]
        own, other = _pick(poses, draw.source), _pick(poses, draw.other)
        mean, spread = (
            tf.repeat(statistic(poses, 1), num_samples, 0) for statistic in (tf.reduce_mean, tf.math.reduce_std)
        )
        known = [part * _POSE_SCALE for part in (own - mean, other - mean, mean, spread, own - other)]
        hidden = _leaky(self.pose_hidden(tf.concat([*known, latents], -1)))
        change = self.pose_change(tf.concat([hidden, looks], -1)) + _FAST * latents @ self.latent_pose
        change *= _POSE_STEP
        return mean + _FAST * self.own_pose * (own - mean) + change[:, :4], change[:, 4:]


def _leaky(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(x, 0.2)


def _initializer(gain: float) -> keras.initializers.Initializer:
    """He et al. 2015, times √gain."""
    return keras.initializers.VarianceScaling(2.0 * gain, "fan_in", "untruncated_normal")


def _conv(filters: int, gain: float = 1.0) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=_initializer(gain))


def _dense(units: int, gain: float, use_bias: bool = True) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=_initializer(gain), use_bias=use_bias)


def _pick(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """[T, n, ...] and int32 [T, m] → [T·m, ...], sample by sample."""
    picked = tf.gather(values, index, batch_dims=1)
    return tf.reshape(picked, [-1, *values.shape[2:]])
