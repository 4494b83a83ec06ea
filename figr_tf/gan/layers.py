"""The layers of both networks: Keras layers that are pure functions of their weights.

Keras builds the weights; `apply` takes whatever weights the inner loop has made of them.
"""

import math

import keras
import tensorflow as tf

from figr_tf.gan import convolutions
from figr_tf.gan.normalisation import prelu_layer_norm

_PRELU_START = 0.25  # He et al. 2015, and the 2018 code.

WeightList = tuple[tf.Tensor, ...]


def kernel_initializer(seed: int) -> keras.initializers.Initializer:
    """Uniform in ±1/√fan_in, the initialisation under which the paper's learning rates were chosen.

    The scale matters even in front of a LayerNorm: plain SGD moves a small kernel relatively
    further.
    """
    return keras.initializers.VarianceScaling(
        scale=1 / 3, mode="fan_in", distribution="uniform", seed=seed
    )


class PureLayer(keras.layers.Layer):
    """A layer that is a pure function of its weights and its input.

    It computes in float32, whatever Keras' policy of the process says.
    """

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)

    def _add_linear_map(self, kernel_shape: tuple[int, ...], seed: int) -> None:
        """Creates a kernel [..., C_out] and its bias."""
        # The order is part of every checkpoint, which knows weights by their place.
        self.kernel = self.add_weight(
            name="kernel", shape=kernel_shape, initializer=kernel_initializer(seed)
        )
        self.bias = self.add_weight(name="bias", shape=kernel_shape[-1:], initializer="zeros")

    def apply(self, weights: WeightList, x: tf.Tensor) -> tf.Tensor:
        """The layer with `weights` in place of its own variables, in the order of those."""
        raise NotImplementedError

    def call(self, x):
        """With its own variables, as Keras calls it."""
        return self.apply(tuple(tf.convert_to_tensor(v) for v in self.trainable_variables), x)


class _NormalisedUnit(PureLayer):
    """Creates a linear map's weights and those that follow it: PReLU slope, LayerNorm affine."""

    def _add_unit(
        self, kernel_shape: tuple[int, ...], seed: int, affine_shape: tuple[int, ...]
    ) -> None:
        self._add_linear_map(kernel_shape, seed)
        start = keras.initializers.Constant(_PRELU_START)
        self.slope = self.add_weight(name="slope", shape=kernel_shape[-1:], initializer=start)
        self.scale = self.add_weight(name="scale", shape=affine_shape, initializer="ones")
        self.offset = self.add_weight(name="offset", shape=affine_shape, initializer="zeros")


class ConvUnit(_NormalisedUnit):
    """Convolution, PReLU per channel, LayerNorm: [B, H, W, C_in] → [B, H, W, filters].

    The norm goes over (H, W, C), as in the paper's networks.

    Args:
        seed: of the initial kernel, here and in the other layers.
        strides: of the convolution; height and width are divided by it.
        affine_per_channel: scale and offset of the LayerNorm have one value per channel, instead of
            one per pixel and channel.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        seed: int = 0,
        strides: int = 1,
        affine_per_channel: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.seed = seed
        self.strides = strides
        self.affine_per_channel = affine_per_channel

    def build(self, input_shape):
        _, height, width, channels = input_shape
        self._example = (height // self.strides, width // self.strides, self.filters)
        affine = self._example[-1:] if self.affine_per_channel else self._example
        kernel = (self.kernel_size, self.kernel_size, channels, self.filters)
        self._add_unit(kernel, self.seed, affine)

    def apply(self, weights, x):
        kernel, bias, slope, scale, offset = weights
        # To the shape that `prelu_layer_norm` takes; see there why.
        if self.affine_per_channel:
            scale, offset = (v + tf.zeros(self._example, v.dtype) for v in (scale, offset))
        return prelu_layer_norm(self._convolve(x, kernel, bias), slope, scale, offset)

    def _convolve(self, x, kernel, bias):
        return convolutions.plain(x, kernel, bias, self.strides)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height // self.strides, width // self.strides, self.filters)


class UpsamplingConvUnit(ConvUnit):
    """`NearestUpsample`, then a `ConvUnit`: [B, H, W, C_in] → [B, 2H, 2W, filters]."""

    def build(self, input_shape):
        batch, height, width, channels = input_shape
        super().build((batch, 2 * height, 2 * width, channels))

    def _convolve(self, x, kernel, bias):
        return convolutions.of_upsampled(x, kernel, bias)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, 2 * height, 2 * width, self.filters)


class DenseUnit(_NormalisedUnit):
    """Dense map, one PReLU slope per value, LayerNorm: [B, D] → [B, units]."""

    def __init__(self, units: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.seed = seed

    def build(self, input_shape):
        self._add_unit((input_shape[-1], self.units), self.seed, (self.units,))

    def apply(self, weights, x):
        kernel, bias, slope, scale, offset = weights
        return prelu_layer_norm(x @ kernel + bias, slope, scale, offset)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.units)


class ResidualBlock(PureLayer):
    """x + unit(unit(x)), channels and size unchanged."""

    def __init__(
        self,
        channels: int,
        seeds: tuple[int, int] = (0, 1),
        affine_per_channel: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = [
            ConvUnit(channels, seed=seed, affine_per_channel=affine_per_channel) for seed in seeds
        ]

    def build(self, input_shape):
        # By hand: Keras builds a layer inside of another one only when it calls it.
        for unit in self.units:
            unit.build(input_shape)

    def apply(self, weights, x):
        half = len(weights) // 2
        first, second = self.units
        inside = first.apply(weights[:half], x)
        return x + second.apply(weights[half:], inside)

    def compute_output_shape(self, input_shape):
        return input_shape


class ToFeatureMap(PureLayer):
    """The dense unit's values as a small image: [B, size·size·C] → [B, size, size, C]."""

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def apply(self, weights, x):
        channels = x.shape[-1] // self.size**2
        return tf.reshape(x, [-1, self.size, self.size, channels])

    def compute_output_shape(self, input_shape):
        batch, values = input_shape
        return (batch, self.size, self.size, values // self.size**2)


class NearestUpsample(PureLayer):
    """Repeats every pixel 2×2: [B, H, W, C] → [B, 2H, 2W, C].

    A tile between two reshapes: its gradient is a plain sum, deterministic on every device, where
    the gradient of a nearest-neighbour resize is not.
    """

    def apply(self, weights, x):
        _, height, width, channels = x.shape
        x = tf.reshape(x, [-1, height, 1, width, 1, channels])
        x = tf.tile(x, [1, 1, 2, 1, 2, 1])
        return tf.reshape(x, [-1, 2 * height, 2 * width, channels])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, 2 * height, 2 * width, channels)


class AveragePool(PureLayer):
    """Means of 2×2 pixels: [B, H, W, C] → [B, H/2, W/2, C]."""

    def apply(self, weights, x):
        # No pixel is left over, since all sizes are even.
        return tf.nn.avg_pool2d(x, 2, 2, "VALID")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, channels)


class ToImage(PureLayer):
    """5×5 convolution and tanh: [B, H, W, C] → images [B, H, W, channels] in (−1, 1).

    Args:
        in_blocks: see `convolutions.in_blocks`; it rounds otherwise.
    """

    def __init__(self, channels: int, seed: int = 0, in_blocks: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.seed = seed
        self.in_blocks = in_blocks

    def build(self, input_shape):
        self._add_linear_map((5, 5, input_shape[-1], self.channels), self.seed)

    def apply(self, weights, x):
        convolve = convolutions.in_blocks if self.in_blocks else convolutions.plain
        return tf.tanh(convolve(x, *weights))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)


class SpaceToDepth(PureLayer):
    """The four pixels of every 2×2 as channels of one: [B, H, W, C] → [B, H/2, W/2, 4C]."""

    def apply(self, weights, x):
        return tf.nn.space_to_depth(x, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, 4 * channels)


class ToScore(PureLayer):
    """Mean over all pixels and a dense map to one unbounded number: [B, H, W, C] → [B, 1]."""

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        self._add_linear_map((input_shape[-1], 1), self.seed)

    def apply(self, weights, x):
        kernel, bias = weights
        # Not a matrix product, which would round otherwise: trained weights expect this.
        weighted = tf.reduce_mean(x, [1, 2]) * tf.transpose(kernel)
        return tf.reduce_sum(weighted, 1, keepdims=True) + bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


class ToScoreByPlace(ToScore):
    """A dense map of all pixels to one unbounded number: [B, H, W, C] → [B, 1]."""

    def build(self, input_shape):
        self._add_linear_map((math.prod(input_shape[1:]), 1), self.seed)

    def apply(self, weights, x):
        kernel, bias = weights
        return tf.reshape(x, [-1, kernel.shape[0]]) @ kernel + bias
