"""Samples of a density model, block by block."""

from typing import NamedTuple

import tensorflow as tf

from figr_tf.pixelcnn import models
from figr_tf.pixelcnn.models import Context, NetworkSpec


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
    weights: models.Weights,
    context: Context,
    num_samples: int | tf.Tensor,
    seed: tf.Tensor,
) -> Samples:
    """Draws block after block, each from the network's answer to those before it.

    Args:
        context: see `models.encode`.
        seed: int32 [2].
    """
    num_blocks = spec.grid**2
    seeds = tf.random.split(seed, num_blocks, alg="philox")

    def one_block(k: tf.Tensor, drawn: tf.Tensor, nats: tf.Tensor) -> tuple:
        images = models.images_of(tf.reshape(drawn, [-1, spec.grid, spec.grid]))
        answers = tf.reshape(
            models.logits(spec, weights, images, context), [-1, num_blocks, models.NUM_PATTERNS]
        )
        answers = tf.nn.log_softmax(answers[:, k])
        uniform = tf.random.stateless_uniform(tf.shape(answers), seeds[k], alg="philox")
        # The largest of these sums is a draw (Gumbel 1954); where u is 0, it is the least of all.
        chosen = tf.argmax(answers - tf.math.log(-tf.math.log(uniform)), -1, tf.int32)
        column = tf.one_hot(k, num_blocks, dtype=tf.int32)
        nats -= tf.gather(answers, chosen, batch_dims=1)
        return k + 1, drawn + chosen[:, tf.newaxis] * column, nats

    start = tf.zeros([num_samples, num_blocks], tf.int32), tf.zeros([num_samples])
    any_number = tf.TensorShape([None, num_blocks]), tf.TensorShape([None])
    _, drawn, nats = tf.while_loop(
        lambda k, *_: k < num_blocks,
        one_block,
        (tf.constant(0), *start),
        shape_invariants=(tf.TensorShape([]), *any_number),
        parallel_iterations=1,
    )
    images = models.images_of(tf.reshape(drawn, [-1, spec.grid, spec.grid]))
    return Samples(images, nats / spec.image_size**2)
