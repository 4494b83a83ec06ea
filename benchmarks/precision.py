"""What convolutions in TF32 or bfloat16 do to the discriminator's gradient, beside float64.

  python -m benchmarks.precision

A tensor core multiplies rounded inputs and adds up in float32. TF32 keeps 10 bits of a mantissa;
bfloat16 keeps 7 and rounds the result too. Here the inputs of every convolution, forward, by input
and by weights, are rounded so, and everything else stays float32.

Prints relative errors (L2) of the gradient penalty and of the discriminator's whole gradient at
λ = 10, medians over glyphs. The networks are untrained, or those of --run.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np
import tensorflow as tf

from figr_common import scaling
from figr_tf import models
from figr_tf.core import console
from figr_tf.core.random import standard_normal
from figr_tf.data import glyphs
from figr_tf.gan import convolutions, losses
from figr_tf.gan.adaptation import generate_images, weights_of
from figr_tf.gan.networks import Networks, NetworkSpec, apply_network, build_networks

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path(
    "run", None, "Run folder; measures its networks instead of untrained ones."
)

_HIDDEN = (4, 16)
# An odd number, so that the median is one of the measured values.
_NUM_TASKS = 9
_PENALTY_WEIGHT = 10.0


@dataclasses.dataclass(frozen=True)
class Precision:
    """How a convolution rounds.

    Attributes:
        name: for the table.
        dtype: of all values.
        inputs: rounds what it multiplies.
        result: rounds what it returns.
    """

    name: str
    dtype: tf.DType = tf.float32
    inputs: Callable[[tf.Tensor], tf.Tensor] = tf.identity
    result: Callable[[tf.Tensor], tf.Tensor] = tf.identity


def to_tf32(x: tf.Tensor) -> tf.Tensor:
    """Nearest number of 10 explicit bits of mantissa; ties away from 0."""
    # Half of the last bit that stays is added, then the 13 bits below it are cut off.
    # A carry out of the mantissa raises the exponent, which is again the nearest number. The sign
    # has a bit of its own, so negative numbers round in the same way.
    bits = tf.bitcast(x, tf.int32)
    return tf.bitcast(tf.bitwise.bitwise_and(bits + 0x1000, ~0x1FFF), tf.float32)


def to_bfloat16(x: tf.Tensor) -> tf.Tensor:
    """Nearest number of 7 explicit bits of mantissa, again as float32."""
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float32)


PRECISIONS = (
    Precision("float32"),
    Precision("TF32", inputs=to_tf32),
    Precision("bfloat16", inputs=to_bfloat16, result=to_bfloat16),
)
EXACT = Precision("float64", tf.float64)


def convolution_of(precision: Precision) -> Callable[..., tf.Tensor]:
    """`convolutions.plain` in that precision, with its derivatives of every order."""

    def convolution(x, kernel, bias, strides=1):
        return tf.nn.bias_add(_product_of(precision, strides)(x, kernel), bias)

    return convolution


def _product_of(precision: Precision, strides: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The convolution without its bias.

    Forward, by input and by weights are three faces of one trilinear form: the derivatives of each
    are the others.
    """
    # Automatic differentiation would not do. A bitcast has no gradient, and the convolutions of the
    # derivatives have to round their inputs too.
    enter, leave = precision.inputs, precision.result
    same = {"strides": [1, strides, strides, 1], "padding": "SAME"}

    @tf.custom_gradient
    def forward(x, kernel):
        def gradient(v):
            return by_input(v, kernel, tf.shape(x)), by_weights(x, v, kernel.shape)

        return leave(tf.nn.conv2d(enter(x), enter(kernel), **same)), gradient

    def by_input(dy, kernel, shape):
        @tf.custom_gradient
        def of(dy, kernel):
            def gradient(v):
                return forward(v, kernel), by_weights(v, dy, kernel.shape)

            product = tf.nn.conv2d_transpose(enter(dy), enter(kernel), shape, **same)
            return leave(product), gradient

        return of(dy, kernel)

    def by_weights(x, dy, shape):
        @tf.custom_gradient
        def of(x, dy):
            product = tf.raw_ops.Conv2DBackpropFilter(
                input=enter(x), filter_sizes=shape, out_backprop=enter(dy), **same
            )

            def gradient(v):
                return by_input(dy, v, tf.shape(x)), forward(x, v)

            return leave(product), gradient

        return of(x, dy)

    return forward


def penalty_and_gradient(
    networks: Networks,
    support_images: tf.Tensor,
    generated: tf.Tensor,
    mix: tf.Tensor,
    precision: Precision,
) -> list[np.ndarray]:
    """The gradient penalty, [], and the gradient of the loss by all weights, [P]; both float64.

    Args:
        support_images, generated: [n, H, W, C] in [−1, 1].
        mix: [n, 1, 1, 1] in [0, 1], where on the line between them the penalty is taken.
    """

    def score(images):
        return apply_network(networks.discriminator, weights, images)

    weights = tuple(tf.cast(w, precision.dtype) for w in weights_of(networks).discriminator)
    real, drawn, mix = (tf.cast(x, precision.dtype) for x in (support_images, generated, mix))
    with (
        mock.patch.object(convolutions, "plain", convolution_of(precision)),
        tf.GradientTape() as tape,
    ):
        tape.watch(weights)
        # FIGR's own losses: only the convolutions below them are others.
        penalty = losses.gradient_penalty(score, drawn + mix * (real - drawn))
        loss = losses.discriminator_loss("wasserstein", score(real), score(drawn))
        gradient = tape.gradient(loss + _PENALTY_WEIGHT * penalty, weights)
    joined = tf.concat([tf.reshape(g, [-1]) for g in gradient], 0)
    return [x.numpy().astype(np.float64) for x in (penalty, joined)]


def _errors(networks: Networks, task: int) -> Iterator[tuple[str, list[float]]]:
    """Of each precision, the relative errors of penalty and gradient on one class."""
    size, latent_dim = networks.discriminator.input_shape[1], networks.generator.input_shape[-1]
    support = tf.constant(scaling.uint8_to_signed(glyphs.glyph_images(task, 4, size, seed=0)))
    generated = generate_images(
        networks,
        weights_of(networks).generator,
        standard_normal([4, latent_dim], tf.constant([task, 0])),
    )
    mix = tf.random.stateless_uniform([4, 1, 1, 1], [task, 1])
    exact = penalty_and_gradient(networks, support, generated, mix, EXACT)
    for precision in PRECISIONS:
        # The same images and the same place on the line between them, so rounding is the only
        # difference.
        found = penalty_and_gradient(networks, support, generated, mix, precision)
        relative = [
            float(np.linalg.norm(a - b) / np.linalg.norm(b))
            for a, b in zip(found, exact, strict=True)
        ]
        yield precision.name, relative


def _networks(run: str | None) -> Iterator[tuple[str, Networks]]:
    if run:
        yield run, models.load_figr(run).networks
        return
    for hidden in _HIDDEN:
        yield f"h = {hidden}, untrained", build_networks(NetworkSpec(hidden=hidden), 0)


def main() -> None:
    """Prints the table."""
    console.start_tensorflow()
    print(
        "| networks | convolutions in | error of the penalty | of the gradient |\n|---|---|---|---|"
    )
    for name, networks in _networks(_RUN.value):
        errors: dict[str, list[list[float]]] = {}
        for task in range(_NUM_TASKS):
            for precision, relative in _errors(networks, task):
                errors.setdefault(precision, []).append(relative)
        for precision, rows in errors.items():
            penalty, gradient = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"| {name} | {precision} | {penalty:.1e} | {gradient:.1e} |", flush=True)


if __name__ == "__main__":
    console.run(main)
