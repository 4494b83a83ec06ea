"""Networks from a place in a sequence to what stands there, many copies side by side.

A place is a pixel in raster order, or a character of a window of text. What stands there is one of
a few classes: paper or ink, or a character of the alphabet.

The weights of T sequences have a leading axis T. A sequence's network never sees what stood before
as an input: what it knows of the sequence so far is what gradient descent has done to its weights.
After unixpickle/reptile-gen; "recurrent" is the baseline that does see it.
"""

import dataclasses
import math
from collections.abc import Mapping

import tensorflow as tf

from figr_tf.core import checks
from figr_tf.core.random import stateless_seed

NETWORKS = ("gated", "mlp", "recurrent")
_EPSILON = 1e-5  # Of the normalisation.

Weights = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """An embedding of the place, a linear layer, then blocks, then the logits of the classes.

    Attributes:
        network: what a block is. "gated": an LSTM's cell without recurrence, its input in the place
            of the state. "mlp": a linear layer and ReLU. "recurrent": an LSTM, which reads what
            stood before as well; it takes no steps.
        image_size: height and width; row and column have embeddings of their own. 0 for text.
        width: units of every layer, even.
        num_blocks: how many.
        text_length: characters of a window of text; 0 for images.
        num_classes: C, what may stand at a place. Ink is class 1 of 2.

    Raises:
        ValueError: a size that cannot work.
    """

    network: str = "gated"
    image_size: int = 28
    width: int = 64
    num_blocks: int = 2
    text_length: int = 0
    num_classes: int = 2

    def __post_init__(self):
        checks.one_of(self, network=NETWORKS)
        checks.at_least(self, 1, "num_blocks")
        checks.at_least(self, 2, "num_classes")
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width must be even. Received: {self.width}")
        if (self.image_size < 1) == (self.text_length < 1):
            raise ValueError(
                "one of image_size and text_length must be 1 or more, the other 0. Received:"
                f" {self.image_size}, {self.text_length}"
            )

    @property
    def length(self) -> int:
        """N, places of a sequence."""
        return self.text_length or self.image_size**2

    @property
    def unit(self) -> str:
        """What stands at a place."""
        return "character" if self.text_length else "pixel"

    @property
    def num_logits(self) -> int:
        """Of each place: of two classes the log-odds of the second suffice."""
        return self.num_classes if self.num_classes > 2 else 1

    @property
    def is_recurrent(self) -> bool:
        """Whether it is the baseline."""
        return self.network == "recurrent"

    def shapes(self) -> dict[str, list[int]]:
        """Of all weights of one sequence, by name."""
        w = self.width
        if self.text_length:
            shapes = {"place": [self.text_length, w]}
        else:
            shapes = {"row": [self.image_size, w // 2], "column": [self.image_size, w // 2]}
        shapes |= {"linear/kernel": [w, w], "linear/bias": [w]}
        shapes |= {"linear/scale": [w], "linear/shift": [w]}
        for i in range(self.num_blocks):
            fan_in, out = (w, w) if self.network == "mlp" else (w, 4 * w)
            if self.is_recurrent:
                fan_in = 2 * w + (self.num_logits if i == 0 else 0)
            shapes |= {f"block{i}/kernel": [fan_in, out], f"block{i}/bias": [out]}
            shapes |= {f"block{i}/scale": [w], f"block{i}/shift": [w]}
        return shapes | {"last/kernel": [w, self.num_logits], "last/bias": [self.num_logits]}


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


def _embedded(spec: NetworkSpec, weights: Weights, place: tf.Tensor) -> tf.Tensor:
    """int32 [] place → [T, w]."""
    if spec.text_length:
        x = tf.gather(weights["place"], place, axis=1)
    else:
        at = {"row": place // spec.image_size, "column": place % spec.image_size}
        x = tf.concat([tf.gather(weights[name], i, axis=1) for name, i in at.items()], -1)
    return _normalised(_layer(x, weights, "linear"), weights, "linear")


def logits(spec: NetworkSpec, weights: Weights, place: tf.Tensor) -> tf.Tensor:
    """The network without recurrence, at a place, int32 [].

    Args:
        weights: with the leading axis T.

    Returns:
        float32 [T, C] of each sequence's classes; of two classes [T, 1], the log-odds of class 1.
    """
    x = _embedded(spec, weights, place)
    for i in range(spec.num_blocks):
        y = _layer(x, weights, f"block{i}")
        y = tf.nn.relu(y) if spec.network == "mlp" else _cell(y, x)[0]
        x = _normalised(y, weights, f"block{i}")
    return _layer(x, weights, "last")


def _cell(gates: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An LSTM's cell (Hochreiter & Schmidhuber 1997; Gers et al. 2000): output and new state."""
    keep, take, new, show = tf.split(gates, 4, -1)
    # As usual a cell begins by remembering.
    state = tf.sigmoid(keep + 1.0) * state + tf.sigmoid(take) * tf.tanh(new)
    return tf.sigmoid(show) * tf.tanh(state), state


def recurrent_logits(
    spec: NetworkSpec, weights: Weights, place: tf.Tensor, before: tf.Tensor, states: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The baseline: logits as above, and the states after it.

    Args:
        before: what stood before, see `targets.as_input`.
        states: of each block its output and its cell's state, [blocks, 2, T, w].
    """
    x, after = _embedded(spec, weights, place), []
    for i in range(spec.num_blocks):
        output, state = tf.unstack(states[i])
        inputs = [x, output] if i else [x, output, before]
        output, state = _cell(_layer(tf.concat(inputs, -1), weights, f"block{i}"), state)
        after.append(tf.stack([output, state]))
        x = _normalised(output, weights, f"block{i}")
    return _layer(x, weights, "last"), tf.stack(after)
