"""The units of both networks: convolution or dense, PReLU, then LayerNorm over the whole feature map."""

import keras
import tensorflow as tf

_PRELU_START = 0.25  # the usual start (He et al. 2015), also the 2018 code's
_LAYER_NORM_EPSILON = 1e-5


def kernel_initializer() -> keras.initializers.Initializer:
    """Uniform in ±1/√fan_in, the initialisation under which the paper's learning rates were chosen.

    The scale matters even in front of a LayerNorm: plain SGD moves a small kernel relatively further.
    """
    return keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in", distribution="uniform")


def prelu(x: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """max(x, 0) + slope · min(x, 0) (He et al. 2015, eq. 1); `slope` broadcasts against `x`.

    Written with ReLU alone because its first and second derivatives are single fused operations.
    """
    return tf.nn.relu(x) - slope * tf.nn.relu(-x)


def layer_norm(x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Normalises each example over all of its axes, then applies the affine (Ba et al. 2016, eq. 4).

    Args:
        x: [batch, ...]; mean and variance are taken over everything but the batch axis.
        scale, offset: shape of one example.
    """
    axes = list(range(1, x.shape.rank))
    centred = x - tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
    return centred * tf.math.rsqrt(variance + _LAYER_NORM_EPSILON) * scale + offset


class _NormalisedUnit(keras.layers.Layer):
    """Creates the weights that follow a linear map: bias, PReLU slope and LayerNorm affine."""

    def _add_activation_weights(self, slope_shape: tuple[int, ...], example_shape: tuple[int, ...]) -> None:
        self.bias = self.add_weight(name="bias", shape=(example_shape[-1],), initializer="zeros")
        self.slope = self.add_weight(
            name="slope", shape=slope_shape, initializer=keras.initializers.Constant(_PRELU_START)
        )
        self.scale = self.add_weight(name="scale", shape=example_shape, initializer="ones")
        self.offset = self.add_weight(name="offset", shape=example_shape, initializer="zeros")

    def _activate(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.nn.bias_add(x, tf.convert_to_tensor(self.bias))
        return layer_norm(prelu(x, tf.convert_to_tensor(self.slope)), self.scale, self.offset)


class ConvUnit(_NormalisedUnit):
    """Convolution, per-channel PReLU, LayerNorm over (H, W, C): [B, H, W, C_in] → [B, H, W, filters]."""

    def __init__(self, filters: int, kernel_size: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size

    def build(self, input_shape):
        _, height, width, channels = input_shape
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=kernel_initializer(),
        )
        self._add_activation_weights((self.filters,), (height, width, self.filters))

    def call(self, x):
        return self._activate(tf.nn.conv2d(x, self.kernel, strides=1, padding="SAME"))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)


class DenseUnit(_NormalisedUnit):
    """Dense map, one PReLU slope per value, LayerNorm: [B, D] → [B, units]."""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units), initializer=kernel_initializer()
        )
        self._add_activation_weights((self.units,), (self.units,))

    def call(self, x):
        return self._activate(tf.linalg.matmul(x, self.kernel))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.units)


class ResidualBlock(keras.layers.Layer):
    """x + unit(unit(x)), channels and size unchanged."""

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.units = [ConvUnit(channels), ConvUnit(channels)]

    def build(self, input_shape):
        for unit in self.units:
            unit.build(input_shape)

    def call(self, x):
        return x + self.units[1](self.units[0](x))

    def compute_output_shape(self, input_shape):
        return input_shape


class NearestUpsample(keras.layers.Layer):
    """Repeats every pixel 2×2: [B, H, W, C] → [B, 2H, 2W, C].

    A tile between two reshapes: its gradient is a plain sum, deterministic on every device, where the
    gradient of a nearest-neighbour resize is not.
    """

    def call(self, x):
        _, height, width, channels = x.shape
        x = tf.reshape(x, [-1, height, 1, width, 1, channels])
        return tf.reshape(tf.tile(x, [1, 1, 2, 1, 2, 1]), [-1, 2 * height, 2 * width, channels])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, 2 * height, 2 * width, channels)
