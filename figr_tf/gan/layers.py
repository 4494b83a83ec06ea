"""The layers of both networks: Keras layers whose forward pass is a pure function of their weights."""

import math

import keras
import tensorflow as tf

_PRELU_START = 0.25  # the usual start (He et al. 2015), also the 2018 code's
_LAYER_NORM_EPSILON = 1e-5
_NO_SECOND_DERIVATIVE = (
    "prelu_layer_norm: the gradient by its weights cannot be differentiated again"
)

WeightList = tuple[tf.Tensor, ...]


def kernel_initializer(seed: int) -> keras.initializers.Initializer:
    """Uniform in ±1/√fan_in, the initialisation under which the paper's learning rates were chosen.

    The scale matters even in front of a LayerNorm: plain SGD moves a small kernel relatively
    further.
    """
    return keras.initializers.VarianceScaling(
        scale=1 / 3, mode="fan_in", distribution="uniform", seed=seed
    )


def prelu_layer_norm(
    x: tf.Tensor, slope: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor
) -> tf.Tensor:
    """PReLU (He et al. 2015, eq. 1), then LayerNorm of each example over all of its axes (Ba et al.
    2016, eq. 4).

    First and second derivatives are written out: automatic ones take three times as many
    operations. The gradient by x may be differentiated once more, as the gradient penalty does; the
    one by the weights may not, and says so.

    Args:
        x: [B, ..., C].
        slope: what multiplies negative values; broadcasts against x.
        scale, offset: shape of one example.
    """
    # Once, to the shape of an example: operations that repeat a handful of channels are ten times
    # as slow.
    dip = (slope - 1.0) + tf.zeros_like(scale)
    return _prelu_layer_norm(x, dip, scale, offset)


def _prelu_layer_norm(x, dip, scale, offset):
    """With PReLU as x − dip · max(−x, 0), where dip = slope − 1: an operation less here and in each
    derivative.
    """

    def mean(values: tf.Tensor) -> tf.Tensor:
        """Of each example: [B, ..., C] → [B, 1…]."""
        return tf.reduce_mean(values, list(range(1, values.shape.rank)), keepdims=True)

    def project(g, normalised):
        """LayerNorm's Jacobian without its 1/std: removes the mean of g and its part along
        `normalised`.
        """
        along, average = mean(g * normalised), mean(g)
        return g - average - normalised * along, average, along

    def through_prelu(g, dip, negative):
        """g times PReLU's derivative: 1 + dip below 0, elsewhere 1. In operations that are fast on
        a CPU.
        """
        return g + dip * tf.raw_ops.ReluGrad(gradients=g, features=negative)

    def over_batch(values):
        return tf.reduce_sum(values, 0)

    @tf.custom_gradient
    def forward(x, dip, scale, offset):
        negative = tf.nn.relu(-x)
        activated = x - dip * negative
        centred = activated - mean(activated)
        inverse_std = tf.math.rsqrt(mean(tf.square(centred)) + _LAYER_NORM_EPSILON)
        normalised = centred * inverse_std

        def gradient(dy):
            g = dy * scale
            projected, g_mean, g_along = project(g, normalised)
            d_activated = inverse_std * projected

            @tf.custom_gradient
            def gradient_by_x(x, dip, scale, dy):
                def second(v):
                    """Derivatives of Σ v · gradient_by_x; `normalised` and `inverse_std` depend on
                    x as well.
                    """
                    w = through_prelu(v, dip, negative)
                    projected, w_mean, w_along = project(w, normalised)
                    d_g = inverse_std * projected
                    along = mean(w * g) - w_mean * g_mean - 3.0 * g_along * w_along
                    by_activated = (
                        (w - w_mean) * g_along + (g - g_mean) * w_along + normalised * along
                    )
                    by_activated *= -tf.square(inverse_std)
                    by_dip = tf.raw_ops.ReluGrad(gradients=v * d_activated, features=negative)
                    return (
                        through_prelu(by_activated, dip, negative),
                        over_batch(by_dip - by_activated * negative),
                        over_batch(dy * d_g),
                        scale * d_g,
                    )

                return through_prelu(d_activated, dip, negative), second

            by_weights = (
                -over_batch(d_activated * negative),
                over_batch(dy * normalised),
                over_batch(dy),
            )
            return gradient_by_x(x, dip, scale, dy), *(
                tf.raw_ops.PreventGradient(input=d, message=_NO_SECOND_DERIVATIVE)
                for d in by_weights
            )

        return normalised * scale + offset, gradient

    return forward(x, dip, scale, offset)


class PureLayer(keras.layers.Layer):
    """A layer that is a pure function of its weights and its input: float32, whatever Keras' policy
    of the process.
    """

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)

    def apply(self, weights: WeightList, x: tf.Tensor) -> tf.Tensor:
        """The layer with `weights`, in the order of `trainable_variables`, in place of its own
        variables.
        """
        raise NotImplementedError

    def call(self, x):
        return self.apply(tuple(tf.convert_to_tensor(v) for v in self.trainable_variables), x)


class _NormalisedUnit(PureLayer):
    """Creates the weights that follow a linear map: bias, PReLU slope and LayerNorm affine."""

    def _add_activation_weights(
        self, slope_shape: tuple[int, ...], example_shape: tuple[int, ...]
    ) -> None:
        self.bias = self.add_weight(name="bias", shape=(example_shape[-1],), initializer="zeros")
        self.slope = self.add_weight(
            name="slope", shape=slope_shape, initializer=keras.initializers.Constant(_PRELU_START)
        )
        self.scale = self.add_weight(name="scale", shape=example_shape, initializer="ones")
        self.offset = self.add_weight(name="offset", shape=example_shape, initializer="zeros")


class ConvUnit(_NormalisedUnit):
    """Convolution, per-channel PReLU, LayerNorm over (H, W, C): [B, H, W, C_in] → [B, H, W,
    filters].

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
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, self.filters),
            initializer=kernel_initializer(self.seed),
        )
        self._example = (height // self.strides, width // self.strides, self.filters)
        affine = self._example[-1:] if self.affine_per_channel else self._example
        self._add_activation_weights((self.filters,), affine)

    def apply(self, weights, x):
        kernel, bias, slope, scale, offset = weights
        if self.affine_per_channel:
            scale, offset = (value + tf.zeros(self._example) for value in (scale, offset))
        return prelu_layer_norm(convolution(x, kernel, bias, self.strides), slope, scale, offset)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        return (batch, height // self.strides, width // self.strides, self.filters)


def convolution(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, strides: int = 1) -> tf.Tensor:
    """Convolution that keeps the image's size, or divides it by `strides`."""
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=strides, padding="SAME"), bias)


class DenseUnit(_NormalisedUnit):
    """Dense map, one PReLU slope per value, LayerNorm: [B, D] → [B, units]."""

    def __init__(self, units: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.seed = seed

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=kernel_initializer(self.seed),
        )
        self._add_activation_weights((self.units,), (self.units,))

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
        for unit in self.units:
            unit.build(input_shape)

    def apply(self, weights, x):
        half = len(weights) // 2
        return x + self.units[1].apply(weights[half:], self.units[0].apply(weights[:half], x))

    def compute_output_shape(self, input_shape):
        return input_shape


class ToFeatureMap(PureLayer):
    """The dense unit's values as a small image: [B, size·size·C] → [B, size, size, C]."""

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def apply(self, weights, x):
        return tf.reshape(x, [-1, self.size, self.size, x.shape[-1] // self.size**2])

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
        return tf.reshape(tf.tile(x, [1, 1, 2, 1, 2, 1]), [-1, 2 * height, 2 * width, channels])

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, 2 * height, 2 * width, channels)


class AveragePool(PureLayer):
    """Means of 2×2 pixels: [B, H, W, C] → [B, H/2, W/2, C]."""

    def apply(self, weights, x):
        return tf.nn.avg_pool2d(x, 2, 2, "VALID")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, channels)


class ToImage(PureLayer):
    """5×5 convolution and tanh: [B, H, W, C] → images [B, H, W, channels] in (−1, 1)."""

    def __init__(self, channels: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.seed = seed

    def build(self, input_shape):
        shape = (5, 5, input_shape[-1], self.channels)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=kernel_initializer(self.seed)
        )
        self.bias = self.add_weight(name="bias", shape=(self.channels,), initializer="zeros")

    def apply(self, weights, x):
        return tf.tanh(convolution(x, *weights))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)


class SpaceToDepth(PureLayer):
    """The four pixels of every 2×2 as channels of one: [B, H, W, C] → [B, H/2, W/2, 4C]."""

    def apply(self, weights, x):
        return tf.nn.space_to_depth(x, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height // 2, width // 2, 4 * channels)


class ToScoreByPlace(PureLayer):
    """A dense map of all pixels to one unbounded number: [B, H, W, C] → [B, 1]."""

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        shape = (math.prod(input_shape[1:]), 1)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=kernel_initializer(self.seed)
        )
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def apply(self, weights, x):
        kernel, bias = weights
        return tf.reshape(x, [-1, kernel.shape[0]]) @ kernel + bias

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)


class ToScore(PureLayer):
    """Mean over all pixels and a dense map to one unbounded number: [B, H, W, C] → [B, 1]."""

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        shape = (input_shape[-1], 1)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=kernel_initializer(self.seed)
        )
        self.bias = self.add_weight(name="bias", shape=(1,), initializer="zeros")

    def apply(self, weights, x):
        kernel, bias = weights
        return (
            tf.reduce_sum(tf.reduce_mean(x, [1, 2]) * tf.transpose(kernel), 1, keepdims=True) + bias
        )

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 1)
