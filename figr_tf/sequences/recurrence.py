"""The inner loop: predict, see, take a step, go on. Scores and samples are one loop."""

from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import inner_loop
from figr_tf.sequences import networks, targets
from figr_tf.sequences.networks import NetworkSpec, Weights


class Read(NamedTuple):
    """Sequences as read, or as drawn.

    Attributes:
        weights: of each sequence after its last step, with the leading axis T.
        targets: [T, N] of classes: what stands at each place.
        nats: [T, N], −ln of the probability that it had before it was seen.
    """

    weights: dict[str, tf.Tensor]
    targets: tf.Tensor
    nats: tf.Tensor


def _one_more(
    read: tf.Tensor, nats: tf.Tensor, k: tf.Tensor, seen: tf.Tensor, cost: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Both [T, N] with column k filled in."""
    column = tf.one_hot(k, read.shape[1])
    return read + seen[:, tf.newaxis] * column, nats + cost[:, tf.newaxis] * column


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
        rate: of the SGD step on each place's −ln of probability.
        given: float32 [T, N] of classes; None draws.
        uniform: [T, N], uniform in [0, 1), see `targets.drawn`.
    """
    like = uniform if given is None else given
    if like is None:
        raise ValueError("need targets to read, or random numbers to draw by")

    def seen(k: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return targets.drawn(logits, like[:, k]) if given is None else given[:, k]

    def one_place(k: tf.Tensor, state: Read) -> Read:
        with tf.GradientTape() as tape:
            tape.watch(state.weights)
            logits = networks.logits(spec, state.weights, k)
            target = tf.stop_gradient(seen(k, logits))
            cost = targets.cost(target, logits)
        # Each sequence has weights of its own, so the sum's gradient is that of each alone.
        slopes = tape.gradient(cost, state.weights)
        stepped = {name: w - rate * slopes[name] for name, w in state.weights.items()}
        return Read(stepped, *_one_more(state.targets, state.nats, k, target, cost))

    def one_place_recurrently(k: tf.Tensor, state: tuple) -> tuple:
        states, read, nats, before = state
        logits, states = networks.recurrent_logits(spec, each, k, before, states)
        target = seen(k, logits)
        filled = _one_more(read, nats, k, target, targets.cost(target, logits))
        return states, *filled, targets.as_input(target, spec.num_logits)

    count, nothing = tf.shape(like)[0], tf.zeros_like(like)
    each = networks.side_by_side(weights, count)
    if not spec.is_recurrent:
        return inner_loop.repeat(one_place, Read(each, nothing, nothing), spec.length)
    states = tf.zeros([spec.num_blocks, 2, count, spec.width])
    start = states, nothing, nothing, tf.zeros([count, spec.num_logits])
    _, read, nats, _ = inner_loop.repeat(one_place_recurrently, start, spec.length)
    return Read(each, read, nats)
