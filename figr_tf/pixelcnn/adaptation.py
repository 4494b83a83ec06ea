"""The inner loop of the density model: plain SGD steps down the nats per pixel of some drawings."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import inner_loop
from figr_tf.pixelcnn import drawings, networks
from figr_tf.pixelcnn.networks import NetworkSpec


class Descent(NamedTuple):
    """How inner steps are taken.

    Attributes:
        rate: of the steps; each tensor has a fixed multiple of it, see `networks.step_scale`.
        seed: int32 [2]; step k moves its drawings by the k-th stream of it.
        max_shift: pixels, see `drawings.moved`.
    """

    rate: float | tf.Tensor
    seed: tf.Tensor
    max_shift: int = 0


class State(NamedTuple):
    """Of an inner loop: weights by name, and the nats per pixel of the last batch, []."""

    weights: Mapping[str, tf.Tensor]
    loss: tf.Tensor


def _descend(
    spec: NetworkSpec,
    weights: networks.Weights,
    images: tf.Tensor,
    support: tf.Tensor,
    descent: Descent,
    k: tf.Tensor,
) -> State:
    """Step k on drawings [B, S, S]; a network with a condition sees support [n, S, S]."""
    step_seed = tf.random.fold_in(descent.seed, k, alg="philox")
    images = drawings.moved(images, descent.max_shift, step_seed)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        context = networks.encode(spec, weights, support)
        loss = tf.reduce_mean(networks.nats(spec, weights, images, context))
    gradients = tape.gradient(loss, weights)
    stepped = {
        name: w - descent.rate * networks.step_scale(name) * gradients[name]
        for name, w in weights.items()
    }
    return State(stepped, loss)


def adapt(
    spec: NetworkSpec,
    weights: networks.Weights,
    images: tf.Tensor,
    support: tf.Tensor,
    batches: tf.Tensor,
    descent: Descent,
) -> State:
    """Steps on minibatches, one after another.

    Args:
        images: [N, S, S].
        support: [n, S, S], see `_descend`.
        batches: int32 [K, B], which drawings make up each batch.
    """

    def one_step(k: tf.Tensor, state: State) -> State:
        batch = tf.gather(images, tf.gather(batches, k))
        return _descend(spec, state.weights, batch, support, descent, k)

    start = State(dict(weights), tf.constant(0.0))
    return inner_loop.repeat(one_step, start, tf.shape(batches)[0])


def adapt_to_support(
    spec: NetworkSpec,
    weights: networks.Weights,
    support: tf.Tensor,
    descent: Descent,
    num_steps: int | tf.Tensor,
    first: int | tf.Tensor = 0,
) -> dict[str, tf.Tensor]:
    """What happens on a held-out task: steps on all of the support set [n, S, S].

    They are the steps `first` … `first + num_steps − 1`; there may be none.
    """

    def one_step(k: tf.Tensor, now: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return dict(_descend(spec, now, support, support, descent, k).weights)

    return inner_loop.repeat(one_step, dict(weights), num_steps, first)
