"""The two networks of the Reptile paper, as functions: weights in, logits out.

Nichol et al. 2018 (arXiv:1803.02999) take them from MAML and from matching networks. The shapes,
the initial weights and the constants are those of openai/supervised-reptile.
"""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from figr_tf.core import checks
from figr_tf.core.random import stateless_seed

ARCHITECTURES = ("strided", "pooled")
_NUM_BLOCKS = 4
_PARTS_OF_BLOCK = 4  # Kernel, bias, and batch norm's scale and shift.
_EPSILON = 1e-3  # Of batch norm; TensorFlow 1's default.

Layers = Sequence[tf.Tensor]  # Block by block, then the dense layer's kernel and bias.


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """Four blocks of a 3×3 convolution, batch norm and ReLU, then a dense layer.

    Attributes:
        architecture: "strided" halves the image in its convolutions (Omniglot's network), "pooled"
            by max-pooling behind batch norm (that of mini-ImageNet).
        image_size, channels: of an image.
        filters: of each convolution; published are 64 (strided) and 32 (pooled).
        num_classes: that a task has.

    Raises:
        ValueError: a size that cannot work.
    """

    architecture: str = "strided"
    image_size: int = 28
    channels: int = 1
    filters: int = 64
    num_classes: int = 5

    def __post_init__(self):
        checks.one_of(self, architecture=ARCHITECTURES)
        checks.at_least(self, 1, "channels", "filters")
        checks.at_least(self, 2, "image_size", "num_classes")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """S, S, C."""
        return self.image_size, self.image_size, self.channels

    def shapes(self) -> list[list[int]]:
        """Of all weights, in the order of `Layers`."""
        shapes: list[list[int]] = []
        channels, side = self.channels, self.image_size
        for _ in range(_NUM_BLOCKS):
            shapes += [[3, 3, channels, self.filters], *([[self.filters]] * 3)]
            # Convolutions and pooling pad ("SAME"), so an odd side is rounded up.
            channels, side = self.filters, math.ceil(side / 2)
        return [*shapes, [side * side * channels, self.num_classes], [self.num_classes]]


def initial_layers(spec: NetworkSpec, seed: int) -> list[tf.Tensor]:
    """Kernels from Glorot & Bengio 2010 (uniform), scales 1, everything else 0."""
    layers: list[tf.Tensor] = []
    for i, shape in enumerate(spec.shapes()):
        if len(shape) > 1:
            # Of a convolution a fan is a number of channels times the 3×3 places of the kernel.
            *places, channels_in, channels_out = shape
            fans = math.prod(places) * (channels_in + channels_out)
            limit = math.sqrt(6.0 / fans)
            # A seed of its own for each kernel: the program's own generators are left alone.
            kernel_seed = stateless_seed(seed, i)
            layers.append(
                tf.random.stateless_uniform(shape, kernel_seed, -limit, limit, alg="philox"),
            )
        else:
            # The third of each block's parts. The dense layer behind the blocks has none.
            is_scale = i < _NUM_BLOCKS * _PARTS_OF_BLOCK and i % _PARTS_OF_BLOCK == 2
            layers.append(tf.ones(shape) if is_scale else tf.zeros(shape))
    return layers


def logits(architecture: str, layers: Layers, images: tf.Tensor) -> tf.Tensor:
    """The network: images [B, S, S, C], paper 1 and ink 0, → [B, classes].

    Batch norm takes the mean and variance of these very images, in training and afterwards: there
    are no running averages, so what else is in a batch is part of an answer.
    """
    x, stride = images, 2 if architecture == "strided" else 1
    for block in range(_NUM_BLOCKS):
        kernel, bias, scale, shift = layers[block * _PARTS_OF_BLOCK :][:_PARTS_OF_BLOCK]
        x = tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, "SAME"), bias)
        # The fused operation: one kernel forwards, one backwards.
        x, _, _ = tf.compat.v1.nn.fused_batch_norm(x, scale, shift, epsilon=_EPSILON)
        # The published order: pooling before ReLU. The maximum is the same either way, and a
        # quarter of the numbers are left for ReLU.
        if architecture == "pooled":
            x = tf.nn.max_pool2d(x, 2, 2, "SAME")
        x = tf.nn.relu(x)
    dense_kernel, dense_bias = layers[-2:]
    return tf.reshape(x, [-1, dense_kernel.shape[0]]) @ dense_kernel + dense_bias


def pack(layers: Layers) -> tf.Tensor:
    """All weights in one vector [P], so that a step of an optimiser is a handful of operations."""
    return tf.concat([tf.reshape(w, [-1]) for w in layers], 0)


def unpack(vector: tf.Tensor, shapes: Sequence[Sequence[int]]) -> tuple[tf.Tensor, ...]:
    """The weights of a vector [P] again."""
    parts = tf.split(vector, [math.prod(shape) for shape in shapes])
    return tuple(tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True))
