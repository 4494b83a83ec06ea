"""The inner loop of the density model: plain SGD steps down the nats per pixel of some drawings."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import inner_loop
from figr_tf.pixelcnn import models
from figr_tf.pixelcnn.models import NetworkSpec


class State(NamedTuple):
    """Of an inner loop: weights by name, and the nats per pixel of the last batch, []."""

    weights: Mapping[str, tf.Tensor]
    loss: tf.Tensor


def descend(
    spec: NetworkSpec,
    weights: models.Weights,
    images: tf.Tensor,
    support: tf.Tensor,
    rate: float | tf.Tensor,
) -> State:
    """One SGD step on drawings [B, S, S]; a network with a condition sees support [n, S, S].

    Each tensor has a fixed multiple of the rate, see `models.step_scale`.
    """
    with tf.GradientTape() as tape:
        tape.watch(weights)
        context = models.encode(spec, weights, support)
        loss = tf.reduce_mean(models.nats(spec, weights, images, context))
    gradients = tape.gradient(loss, weights)
    stepped = {
        name: w - rate * models.step_scale(name) * gradients[name] for name, w in weights.items()
    }
    return State(stepped, loss)


def adapt(
    spec: NetworkSpec,
    weights: models.Weights,
    images: tf.Tensor,
    support: tf.Tensor,
    batches: tf.Tensor,
    rate: float,
) -> State:
    """Steps on minibatches, one after another.

    Args:
        images: [N, S, S].
        support: [n, S, S], see `descend`.
        batches: int32 [K, B], which drawings make up each batch.
    """

    def one_step(k: tf.Tensor, state: State) -> State:
        batch = tf.gather(images, tf.gather(batches, k))
        return descend(spec, state.weights, batch, support, rate)

    start = State(dict(weights), tf.constant(0.0))
    return inner_loop.repeat(one_step, start, tf.shape(batches)[0])


def adapt_to_support(
    spec: NetworkSpec,
    weights: models.Weights,
    support: tf.Tensor,
    rate: float | tf.Tensor,
    num_steps: int | tf.Tensor,
) -> dict[str, tf.Tensor]:
    """What happens on a held-out task: K steps on all of the support set [n, S, S]; K may be 0."""

    def one_step(_: tf.Tensor, now: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return dict(descend(spec, now, support, support, rate).weights)

    return inner_loop.repeat(one_step, dict(weights), num_steps)
