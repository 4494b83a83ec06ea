"""Networks from a pixel's position to the chance of ink, many copies side by side.

The weights of T sequences have a leading axis T. A sequence's network never sees a pixel as an
input: what it knows of the image so far is what gradient descent has done to its weights. After
unixpickle/reptile-gen; "recurrent" is the baseline that does see the pixels.
"""

import dataclasses
import math
from collections.abc import Mapping

import tensorflow as tf

from figr_tf.core.random import stateless_seed

NETWORKS = ("gated", "mlp", "recurrent")
_EPSILON = 1e-5  # Of the normalisation.

Weights = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """Embeddings of row and column, a linear layer, then blocks, then one number.

    Attributes:
        network: what a block is. "gated": an LSTM's cell without recurrence, its input in the place
            of the state. "mlp": a linear layer and ReLU. "recurrent": an LSTM, which reads the
            pixel before as well; it takes no steps.
        image_size: height and width.
        width: units of every layer, even.
        num_blocks: how many.

    Raises:
        ValueError: a size that cannot work.
    """

    network: str = "gated"
    image_size: int = 28
    width: int = 64
    num_blocks: int = 2

    def __post_init__(self):
        if self.network not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise ValueError(f"network must be one of {known}. Received: {self.network}")
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width must be even. Received: {self.width}")
        for name in ("image_size", "num_blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more. Received: {getattr(self, name)}")

    @property
    def length(self) -> int:
        """Pixels of an image."""
        return self.image_size**2

    @property
    def is_recurrent(self) -> bool:
        """Whether it is the baseline."""
        return self.network == "recurrent"

    def shapes(self) -> dict[str, list[int]]:
        """Of all weights of one sequence, by name."""
        w = self.width
        shapes = {"row": [self.image_size, w // 2], "column": [self.image_size, w // 2]}
        shapes |= {"linear/kernel": [w, w], "linear/bias": [w]}
        shapes |= {"linear/scale": [w], "linear/shift": [w]}
        for i in range(self.num_blocks):
            fan_in, out = (w, w) if self.network == "mlp" else (w, 4 * w)
            if self.is_recurrent:
                fan_in = 2 * w + (1 if i == 0 else 0)
            shapes |= {f"block{i}/kernel": [fan_in, out], f"block{i}/bias": [out]}
            shapes |= {f"block{i}/scale": [w], f"block{i}/shift": [w]}
        return shapes | {"last/kernel": [w, 1], "last/bias": [1]}


def initial_weights(spec: NetworkSpec, seed: int) -> dict[str, tf.Tensor]:
    """Kernels normal with variance 1 / fan-in, embeddings with 1; scales 1; everything else 0."""
    weights = {}
    for i, (name, shape) in enumerate(spec.shapes().items()):
        if len(shape) == 1:
            weights[name] = tf.ones(shape) if name.endswith("/scale") else tf.zeros(shape)
            continue
        scale = 1.0 / math.sqrt(shape[0]) if name.endswith("/kernel") else 1.0
        kernel_seed = stateless_seed(seed, i)
        weights[name] = scale * tf.random.stateless_normal(shape, kernel_seed, alg="philox")
    return weights


def side_by_side(weights: Weights, count: int | tf.Tensor) -> dict[str, tf.Tensor]:
    """A copy of the weights for each of so many sequences."""
    return {n: tf.repeat(w[tf.newaxis], count, axis=0) for n, w in weights.items()}


def _normalised(x: tf.Tensor, weights: Weights, name: str) -> tf.Tensor:
    """Ba et al. 2016 (arXiv:1607.06450): [T, w] → [T, w]."""
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
    x = (x - mean) * tf.math.rsqrt(variance + _EPSILON)
    return x * weights[f"{name}/scale"] + weights[f"{name}/shift"]


def _layer(x: tf.Tensor, weights: Weights, name: str) -> tf.Tensor:
    """Each sequence by its own kernel: [T, c] → [T, d]."""
    product = tf.matmul(x[:, tf.newaxis], weights[f"{name}/kernel"])[:, 0]
    return product + weights[f"{name}/bias"]


def _embedded(spec: NetworkSpec, weights: Weights, pixel: tf.Tensor) -> tf.Tensor:
    """int32 [] pixel in raster order → [T, w]."""
    row, column = pixel // spec.image_size, pixel % spec.image_size
    places = tf.gather(weights["row"], row, axis=1), tf.gather(weights["column"], column, axis=1)
    x = _layer(tf.concat(places, -1), weights, "linear")
    return _normalised(x, weights, "linear")


def logit(spec: NetworkSpec, weights: Weights, pixel: tf.Tensor) -> tf.Tensor:
    """The network without recurrence: log-odds of ink at a pixel, int32 [], for each sequence, [T].

    Args:
        weights: with the leading axis T.
    """
    x = _embedded(spec, weights, pixel)
    for i in range(spec.num_blocks):
        y = _layer(x, weights, f"block{i}")
        y = tf.nn.relu(y) if spec.network == "mlp" else _cell(y, x)[0]
        x = _normalised(y, weights, f"block{i}")
    return _layer(x, weights, "last")[:, 0]


def _cell(gates: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An LSTM's cell (Hochreiter & Schmidhuber 1997; Gers et al. 2000): output and new state."""
    keep, take, new, show = tf.split(gates, 4, -1)
    # As usual a cell begins by remembering.
    state = tf.sigmoid(keep + 1.0) * state + tf.sigmoid(take) * tf.tanh(new)
    return tf.sigmoid(show) * tf.tanh(state), state


def recurrent_logit(
    spec: NetworkSpec, weights: Weights, pixel: tf.Tensor, before: tf.Tensor, states: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The baseline: log-odds of ink [T], and the states after it.

    Args:
        before: the pixel before, 0 or 1, [T].
        states: of each block its output and its cell's state, [blocks, 2, T, w].
    """
    x, after = _embedded(spec, weights, pixel), []
    for i in range(spec.num_blocks):
        output, state = tf.unstack(states[i])
        inputs = [x, output] if i else [x, output, before[:, tf.newaxis]]
        output, state = _cell(_layer(tf.concat(inputs, -1), weights, f"block{i}"), state)
        after.append(tf.stack([output, state]))
        x = _normalised(output, weights, f"block{i}")
    return _layer(x, weights, "last")[:, 0], tf.stack(after)
