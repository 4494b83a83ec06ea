"""The inner loop: predict a pixel, see it, take a step, go on. Scores and samples are one loop."""

from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import inner_loop
from figr_tf.sequences import models
from figr_tf.sequences.models import NetworkSpec, Weights


class Read(NamedTuple):
    """Sequences as read, or as drawn.

    Attributes:
        weights: of each sequence after its last step, with the leading axis T.
        pixels: [T, N] of 0 and 1.
        nats: [T, N], −ln of the probability that each pixel had before it was seen.
    """

    weights: dict[str, tf.Tensor]
    pixels: tf.Tensor
    nats: tf.Tensor


def _one_more(
    pixels: tf.Tensor, nats: tf.Tensor, k: tf.Tensor, seen: tf.Tensor, cost: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Both [T, N] with column k filled in."""
    column = tf.one_hot(k, pixels.shape[1])
    return pixels + seen[:, tf.newaxis] * column, nats + cost[:, tf.newaxis] * column


def _cost(seen: tf.Tensor, log_odds: tf.Tensor) -> tf.Tensor:
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=seen, logits=log_odds)


def run(
    spec: NetworkSpec,
    weights: Weights,
    rate: float | tf.Tensor,
    given: tf.Tensor | None = None,
    uniform: tf.Tensor | None = None,
) -> Read:
    """Reads given sequences, or draws new ones.

    Args:
        weights: Φ, of one sequence; every sequence starts from it.
        rate: of the SGD step on each pixel's −ln of probability.
        given: [T, N] of 0 and 1; None draws.
        uniform: [T, N], uniform in [0, 1): a drawn pixel is ink where it is below the probability.
    """
    like = uniform if given is None else given
    if like is None:
        raise ValueError("need pixels to read, or random numbers to draw by")

    def seen(k: tf.Tensor, log_odds: tf.Tensor) -> tf.Tensor:
        if given is None:
            return tf.cast(like[:, k] < tf.sigmoid(log_odds), tf.float32)
        return given[:, k]

    def one_pixel(k: tf.Tensor, state: Read) -> Read:
        with tf.GradientTape() as tape:
            tape.watch(state.weights)
            log_odds = models.logit(spec, state.weights, k)
            pixel = tf.stop_gradient(seen(k, log_odds))
            cost = _cost(pixel, log_odds)
        # Each sequence has weights of its own, so the sum's gradient is that of each alone.
        slopes = tape.gradient(cost, state.weights)
        stepped = {name: w - rate * slopes[name] for name, w in state.weights.items()}
        return Read(stepped, *_one_more(state.pixels, state.nats, k, pixel, cost))

    def one_pixel_recurrently(k: tf.Tensor, state: tuple) -> tuple:
        states, pixels, nats, before = state
        log_odds, states = models.recurrent_logit(spec, each, k, before, states)
        pixel = seen(k, log_odds)
        return states, *_one_more(pixels, nats, k, pixel, _cost(pixel, log_odds)), pixel

    count, nothing = tf.shape(like)[0], tf.zeros_like(like)
    each = models.side_by_side(weights, count)
    if not spec.is_recurrent:
        return inner_loop.repeat(one_pixel, Read(each, nothing, nothing), spec.length)
    states = tf.zeros([spec.num_blocks, 2, count, spec.width])
    start = states, nothing, nothing, nothing[:, 0]
    _, pixels, nats, _ = inner_loop.repeat(one_pixel_recurrently, start, spec.length)
    return Read(each, pixels, nats)
