"""Samples of a density model, block by block."""

from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import inner_loop
from figr_tf.pixelcnn import blocks, networks
from figr_tf.pixelcnn.networks import Context, NetworkSpec


class Samples(NamedTuple):
    """Drawings and what they were drawn with.

    Attributes:
        images: float32 [m, S, S], ink 1 and paper 0.
        nats: [m], −ln of the product of the probabilities of all draws, per pixel.
    """

    images: tf.Tensor
    nats: tf.Tensor


def draw(
    spec: NetworkSpec,
    weights: networks.Weights,
    context: Context,
    num_samples: int | tf.Tensor,
    seed: tf.Tensor,
) -> Samples:
    """Draws block after block, each from the network's answer to those before it.

    Only the row of the block is computed: what the network sees of the rows above is kept.

    Args:
        context: see `networks.encode`.
        seed: int32 [2].
    """
    grid = spec.grid
    seeds = tf.random.split(seed, grid**2, alg="philox")

    def answers_of(row: tf.Tensor, drawn: tf.Tensor, above: list) -> tuple[tf.Tensor, list]:
        images = blocks.images_of(drawn[:, tf.newaxis])
        answers, above = networks.row_logits(spec, weights, images, row, above, context)
        return tf.nn.log_softmax(answers[:, 0]), above

    def one_row(row: tf.Tensor, state: tuple) -> tuple:
        drawings, nats, above = state

        def one_block(column: tf.Tensor, state: tuple) -> tuple:
            drawn, nats = state
            answers = answers_of(row, drawn, above)[0][:, column]
            block_seed = seeds[row * grid + column]
            uniform = tf.random.stateless_uniform(tf.shape(answers), block_seed, alg="philox")
            # The largest of these sums is a draw (Gumbel 1954); where u is 0, it is the least.
            chosen = tf.argmax(answers - tf.math.log(-tf.math.log(uniform)), -1, tf.int32)
            place = tf.one_hot(column, grid, dtype=tf.int32)
            nats -= tf.gather(answers, chosen, batch_dims=1)
            return drawn + chosen[:, tf.newaxis] * place, nats

        drawn = tf.zeros([num_samples, grid], tf.int32)
        drawn, nats = inner_loop.repeat(one_block, (drawn, nats), grid)
        _, above = answers_of(row, drawn, above)
        place = tf.one_hot(row, grid, dtype=tf.int32)[:, tf.newaxis]
        return drawings + drawn[:, tf.newaxis] * place, nats, above

    start = (
        tf.zeros([num_samples, grid, grid], tf.int32),
        tf.zeros([num_samples]),
        networks.nothing_above(spec, num_samples),
    )
    drawings, nats, _ = inner_loop.repeat(one_row, start, grid)
    return Samples(blocks.images_of(drawings), nats / spec.image_size**2)
