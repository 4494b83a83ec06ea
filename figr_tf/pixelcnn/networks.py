"""The density model: a masked convolutional network over blocks of 2×2 pixels.

A binary drawing is read block by block, in the order of a page of text. The network gives the
probabilities of the 16 patterns that a block may have, from all blocks before it. So the
probability of a drawing is a product that can be computed exactly. One block instead of one pixel
at a time makes it four times faster; the product is as exact. After van den Oord et al. 2016
(arXiv:1606.05328), with one stack instead of two.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from figr_tf.core import checks
from figr_tf.core.random import stateless_seed
from figr_tf.pixelcnn.blocks import BLOCK, CHANNELS, NUM_PATTERNS, inputs_of, patterns

CONDITIONS = ("none", "features", "attention")
_FIRST_HEIGHT, _FIRST_WIDTH = 4, 7  # Of the first kernel, in blocks.
_HEADS = 4
_FREQUENCIES = (0.5, 1.0, 2.0, 4.0)  # Half-waves per drawing.
_POSITION = 4 * len(_FREQUENCIES)  # Features of a block's position.

Weights = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """A first masked convolution, gated residual layers, then two layers of each block alone.

    Attributes:
        image_size: height and width of a drawing, a multiple of 2.
        planes: channels of the residual stream.
        num_layers: gated residual layers.
        condition: what else the network sees of a task. "none": nothing; "features": the mean of
            the support's features, as a bias in each layer; "attention": each block looks up
            blocks of the support.

    Raises:
        ValueError: a size that cannot work.
    """

    image_size: int = 26
    planes: int = 64
    num_layers: int = 6
    condition: str = "none"

    def __post_init__(self):
        checks.one_of(self, condition=CONDITIONS)
        checks.at_least(self, 1, "num_layers")
        if self.image_size < BLOCK or self.image_size % BLOCK:
            raise ValueError(
                f"image_size must be a multiple of {BLOCK}. Received: {self.image_size}"
            )
        if self.planes < _HEADS or self.planes % _HEADS:
            raise ValueError(f"planes must be a multiple of {_HEADS}. Received: {self.planes}")

    @property
    def grid(self) -> int:
        """Height and width of a drawing in blocks."""
        return self.image_size // BLOCK

    def shapes(self) -> dict[str, list[int]]:
        """Of all weights by name; those of the density model itself come first."""
        h = self.planes
        shapes = {"first/kernel": [_FIRST_HEIGHT, _FIRST_WIDTH, CHANNELS, h], "first/bias": [h]}
        for i in range(self.num_layers):
            shapes |= {
                f"layer{i}/kernel": [2, 3, h, 2 * h],
                f"layer{i}/bias": [2 * h],
                f"layer{i}/out": [h, h],
            }
        shapes |= {"hidden/kernel": [h, h], "hidden/bias": [h]}
        shapes |= {"last/kernel": [h, NUM_PATTERNS], "last/bias": [NUM_PATTERNS]}
        if self.condition != "none":
            shapes |= {"support0/kernel": [5, 5, CHANNELS, h], "support0/bias": [h]}
            shapes |= {"support1/kernel": [3, 3, h, h], "support1/bias": [h]}
        if self.condition == "features":
            shapes |= {"mean/kernel": [h, 2 * h], "mean/bias": [2 * h]}
            shapes |= {f"layer{i}/given": [2 * h, 2 * h] for i in range(self.num_layers)}
        if self.condition == "attention":
            shapes |= {"query": [h + _POSITION, h], "key": [h + _POSITION, h]}
            shapes |= {"value": [h, h], "seen": [h, h]}
        return shapes


class Context(NamedTuple):
    """What the network sees of a support set; only the part that its condition has.

    Attributes:
        features: [1, 2·planes], with "features".
        keys, values: [blocks of all support drawings, planes], with "attention".
    """

    features: tf.Tensor | None = None
    keys: tf.Tensor | None = None
    values: tf.Tensor | None = None


def initial_weights(spec: NetworkSpec, seed: int) -> dict[str, tf.Tensor]:
    """He et al. 2015 by the taps that a mask leaves; what joins the residual stream starts small.

    What a support adds starts at 0, so that a conditional network begins as the plain one.
    """
    weights = {}
    for i, (name, shape) in enumerate(spec.shapes().items()):
        if len(shape) == 1 or name == "seen" or name.endswith("/given"):
            weights[name] = tf.zeros(shape)
            continue
        mask = _mask(name)
        taps = math.prod(shape[:-2]) if mask is None else float(mask.sum())
        scale = math.sqrt(1.0 / (taps * shape[-2]))
        scale *= 0.5 if name.endswith("/out") else 1.0
        # By position: `shapes` lists the plain part first, which so starts alike in all conditions.
        kernel_seed = stateless_seed(seed, i)
        weights[name] = scale * tf.random.stateless_normal(shape, kernel_seed, alg="philox")
    return weights


def step_scale(name: str) -> float:
    """By what an inner step multiplies its rate for one tensor.

    With one rate for all, the last two layers diverge before the others have moved. Chosen on
    validation alphabets (docs/likelihood.md).
    """
    if name.startswith("layer") and not name.endswith("/bias"):
        return 3.0
    return {"hidden/kernel": 0.3, "last/kernel": 0.1}.get(name, 1.0)


def _mask(name: str) -> np.ndarray | None:
    """Which taps of a causal kernel see earlier blocks: [height, width, 1, 1]; None for others.

    The last row is that of the block itself. The first kernel must not see that block; the others
    may, since what they see of it comes from earlier ones.
    """
    if name == "first/kernel":
        shape, own = (_FIRST_HEIGHT, _FIRST_WIDTH), 0
    elif name.startswith("layer") and name.endswith("/kernel"):
        shape, own = (2, 3), 1
    else:
        return None
    mask = np.ones(shape, np.float32)
    mask[-1, shape[1] // 2 + own :] = 0.0
    return mask[..., np.newaxis, np.newaxis]


def _causal(weights: Weights, name: str, x: tf.Tensor, above: tf.Tensor) -> tf.Tensor:
    """A masked convolution of some rows, [B, r, g, c] → [B, r, g, d].

    `above` are the rows that the kernel sees above the first of them: [B, its height − 1, g, c].
    """
    kernel = weights[f"{name}/kernel"] * _mask(f"{name}/kernel")
    beside = kernel.shape[1] // 2
    x = tf.pad(tf.concat([above, x], 1), [[0, 0], [0, 0], [beside, beside], [0, 0]])
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), weights[f"{name}/bias"])


def nothing_above(spec: NetworkSpec, batch_size: int | tf.Tensor) -> list[tf.Tensor]:
    """What `row_logits` sees above the first row: zeros for each masked convolution."""
    heights = [_FIRST_HEIGHT - 1] + [1] * spec.num_layers
    channels = [CHANNELS] + [spec.planes] * spec.num_layers
    return [
        tf.zeros([batch_size, height, spec.grid, c])
        for height, c in zip(heights, channels, strict=True)
    ]


def _positions(grid: int) -> np.ndarray:
    """float32 [g·g, 16]: sines and cosines of row and column, so that products tell distances."""
    row, column = np.divmod(np.arange(grid * grid), grid)
    angles = [np.pi * f * x / grid for x in (row, column) for f in _FREQUENCIES]
    return np.stack([wave(a) for a in angles for wave in (np.sin, np.cos)], -1).astype(np.float32)


def encode(spec: NetworkSpec, weights: Weights, support: tf.Tensor) -> Context:
    """What the network sees of a support set: [n, S, S] of 0 and 1."""
    if spec.condition == "none":
        return Context()
    x = inputs_of(support)
    for i in range(2):
        kernel, bias = weights[f"support{i}/kernel"], weights[f"support{i}/bias"]
        x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
    if spec.condition == "features":
        x = tf.nn.relu(_dense(x, weights["mean/kernel"]) + weights["mean/bias"])
        return Context(features=tf.reduce_mean(x, [0, 1, 2])[tf.newaxis])
    x = tf.reshape(x, [-1, spec.planes])
    places = tf.tile(_positions(spec.grid), [tf.shape(support)[0], 1])
    keys = tf.concat([x, places], -1) @ weights["key"]
    return Context(keys=keys, values=x @ weights["value"])


def _dense(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """[..., c] → [..., d], as one matrix product."""
    flat = tf.reshape(x, [-1, x.shape[-1]]) @ kernel
    return tf.reshape(flat, tf.concat([tf.shape(x)[:-1], [kernel.shape[-1]]], 0))


def _look_up(
    spec: NetworkSpec, weights: Weights, x: tf.Tensor, positions: tf.Tensor, context: Context
) -> tf.Tensor:
    """What each block [B, r, g, h] finds among the blocks of the support (Vaswani et al. 2017).

    `positions` are those of the r·g blocks, see `_positions`.
    """
    num_blocks, width = positions.shape[0], spec.planes // _HEADS
    x = tf.reshape(tf.nn.relu(x), [-1, num_blocks, spec.planes])
    places = tf.broadcast_to(positions, [tf.shape(x)[0], num_blocks, _POSITION])
    queries = _dense(tf.concat([x, places], -1), weights["query"])
    queries = tf.reshape(queries, [-1, num_blocks, _HEADS, width])
    keys, values = (tf.reshape(t, [-1, _HEADS, width]) for t in (context.keys, context.values))
    alike = tf.einsum("bqhd,khd->bhqk", queries, keys) / math.sqrt(width)
    found = tf.einsum("bhqk,khd->bqhd", tf.nn.softmax(alike), values)
    found = _dense(tf.reshape(found, [-1, num_blocks, spec.planes]), weights["seen"])
    return tf.reshape(found, [-1, num_blocks // spec.grid, spec.grid, spec.planes])


def logits(spec: NetworkSpec, weights: Weights, images: tf.Tensor, context: Context) -> tf.Tensor:
    """The network.

    Args:
        images: [B, S, S], ink 1 and paper 0.
        context: see `encode`.

    Returns:
        [B, g, g, 16]: of each block's patterns, from the blocks before it alone.
    """
    above = nothing_above(spec, tf.shape(images)[0])
    answers, _ = _rows(spec, weights, images, above, _positions(spec.grid), context)
    return answers


def row_logits(
    spec: NetworkSpec,
    weights: Weights,
    images: tf.Tensor,
    row: tf.Tensor,
    above: Sequence[tf.Tensor],
    context: Context,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """One row of `logits` from what is kept of the rows before, for sampling.

    Args:
        images: [B, 2, S], the row of blocks.
        row: int32 [], its number from above.
        above: `nothing_above`, or the second result for the row before.

    Returns:
        [B, 1, g, 16], and what the next row sees above it.
    """
    positions = tf.reshape(_positions(spec.grid), [spec.grid, spec.grid, _POSITION])[row]
    return _rows(spec, weights, images, above, positions, context)


def _rows(
    spec: NetworkSpec,
    weights: Weights,
    images: tf.Tensor,
    above: Sequence[tf.Tensor],
    positions: tf.Tensor,
    context: Context,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The network on some rows of blocks; see `row_logits`."""
    inputs: list[tf.Tensor] = []

    def causal(name: str, x: tf.Tensor) -> tf.Tensor:
        seen = above[len(inputs)]
        inputs.append(tf.concat([seen, x], 1)[:, -seen.shape[1] :])
        return _causal(weights, name, x, seen)

    x = causal("first", inputs_of(images))
    for i in range(spec.num_layers):
        if spec.condition == "attention" and i == spec.num_layers // 2:
            x += _look_up(spec, weights, x, positions, context)
        y = causal(f"layer{i}", x)
        if spec.condition == "features":
            y += context.features @ weights[f"layer{i}/given"]
        value, gate = tf.split(y, 2, -1)
        x += _dense(tf.tanh(value) * tf.sigmoid(gate), weights[f"layer{i}/out"])
    x = tf.nn.relu(_dense(tf.nn.relu(x), weights["hidden/kernel"]) + weights["hidden/bias"])
    return _dense(x, weights["last/kernel"]) + weights["last/bias"], inputs


def nats(spec: NetworkSpec, weights: Weights, images: tf.Tensor, context: Context) -> tf.Tensor:
    """−ln of each drawing's probability per pixel: [B, S, S] of 0 and 1 → [B]."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        patterns(images), logits(spec, weights, images, context)
    )
    return tf.reduce_sum(losses, [1, 2]) / spec.image_size**2
