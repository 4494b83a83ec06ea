"""The inner loop of FIGR: Algorithm 1, lines "repeat K times", and Algorithm 2 (Clouâtre & Demers 2019).

Weights go in, weights come out and no variable is touched, so any number of adaptations may run side by side.
Training, generation, evaluation and export all call `adapt`; there is no other inner loop in the project.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from figr_tf import losses
from figr_tf.networks import Networks


class Weights(NamedTuple):
    """The weights of both networks, in the order of `model.trainable_variables`."""

    generator: tuple[tf.Tensor, ...]
    discriminator: tuple[tf.Tensor, ...]


class InnerLosses(NamedTuple):
    """Scalars of one inner step; the penalty is without its weight λ."""

    discriminator: tf.Tensor
    generator: tf.Tensor
    gradient_penalty: tf.Tensor


@dataclasses.dataclass(frozen=True)
class InnerStep:
    """How one inner step updates the weights.

    Attributes:
        learning_rate: of the plain SGD steps, both networks.
        loss: "wasserstein", or "bce" (the paper's DCGAN ablation).
        gradient_penalty_weight: λ; 0 leaves the penalty out of the graph.
        gradient_penalty_norm: "image" (WGAN-GP) or "pixel" (the 2018 code), see `losses.gradient_penalty`.
    """

    learning_rate: float = 1e-4
    loss: str = "wasserstein"
    gradient_penalty_weight: float = 10.0
    gradient_penalty_norm: str = "image"

    def __post_init__(self):
        if self.loss not in losses.LOSSES:
            raise ValueError(f"loss must be one of {losses.LOSSES}. Received: {self.loss!r}")
        if self.gradient_penalty_norm not in losses.GRADIENT_PENALTY_NORMS:
            raise ValueError(
                f"gradient_penalty_norm must be one of {losses.GRADIENT_PENALTY_NORMS}."
                f" Received: {self.gradient_penalty_norm!r}"
            )


def weights_of(networks: Networks) -> Weights:
    """The current values of the networks' variables (Φ)."""
    return Weights(*(tuple(v.value.read_value() for v in model.trainable_variables) for model in networks))


def stateless_seed(seed: int | tf.Tensor, *path: int | tf.Tensor) -> tf.Tensor:
    """int32 [2] seed of one random stream: `seed` folded with each integer of `path` in turn."""
    stream = tf.stack([tf.cast(seed, tf.int32), 0])
    for part in path:
        stream = tf.random.fold_in(stream, part, alg="philox")
    return stream


def draw_latents(shape: list, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal latents of the given shape, [..., latent_dim]; `seed` is int32 [2]."""
    return tf.random.stateless_normal(shape, seed, alg="philox")


def generate_images(networks: Networks, generator_weights: tuple[tf.Tensor, ...], latents: tf.Tensor) -> tf.Tensor:
    """Latents [B, latent_dim] → images [B, H, W, C] in (−1, 1)."""
    return networks.generator.stateless_call(generator_weights, [], latents)[0]


def score_images(networks: Networks, discriminator_weights: tuple[tf.Tensor, ...], images: tf.Tensor) -> tf.Tensor:
    """Images [B, H, W, C] in [−1, 1] → scores [B], high for real ones."""
    return networks.discriminator.stateless_call(discriminator_weights, [], images)[0]


def _sgd(weights: tuple[tf.Tensor, ...], gradients, learning_rate: float) -> tuple[tf.Tensor, ...]:
    return tuple(w - learning_rate * g for w, g in zip(weights, gradients, strict=True))


def inner_step(
    networks: Networks, weights: Weights, support_images: tf.Tensor, step: InnerStep, seed: tf.Tensor
) -> tuple[Weights, InnerLosses]:
    """One SGD step of the discriminator, then one of the generator against it, each on fresh latents.

    Args:
        support_images: [n, H, W, C] in [−1, 1]; all of them are used.
        seed: int32 [2]; a function of it alone decides the latents and the interpolation points.
    """
    n = tf.shape(support_images)[0]
    seeds = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    discriminator_latents, generator_latents = tf.unstack(
        draw_latents([2, n, networks.generator.input_shape[-1]], seeds[0])
    )
    # Computed outside the tape: what the discriminator's loss would send into the generator is never used.
    generated = generate_images(networks, weights.generator, discriminator_latents)

    with tf.GradientTape() as tape:
        tape.watch(weights.discriminator)
        scores = score_images(networks, weights.discriminator, tf.concat([support_images, generated], 0))
        discriminator_loss = losses.discriminator_loss(step.loss, scores[:n], scores[n:])
        penalty = tf.constant(0.0)
        if step.gradient_penalty_weight:
            mix = tf.random.stateless_uniform([n, 1, 1, 1], seeds[1], alg="philox")
            penalty = losses.gradient_penalty(
                lambda images: score_images(networks, weights.discriminator, images),
                generated + mix * (support_images - generated),
                step.gradient_penalty_norm,
            )
        total = discriminator_loss + step.gradient_penalty_weight * penalty
    discriminator = _sgd(weights.discriminator, tape.gradient(total, weights.discriminator), step.learning_rate)

    with tf.GradientTape() as tape:
        tape.watch(weights.generator)
        images = generate_images(networks, weights.generator, generator_latents)
        generator_loss = losses.generator_loss(step.loss, score_images(networks, discriminator, images))
    generator = _sgd(weights.generator, tape.gradient(generator_loss, weights.generator), step.learning_rate)
    return Weights(generator, discriminator), InnerLosses(discriminator_loss, generator_loss, penalty)


def adapt_with_losses(
    networks: Networks,
    weights: Weights,
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    step: InnerStep,
    seed: tf.Tensor,
    first_inner_step: int | tf.Tensor = 0,
) -> tuple[Weights, InnerLosses]:
    """As `adapt`, with the losses of the last inner step (zeros if there was none)."""

    def body(k, weights, _):
        step_seed = tf.random.fold_in(seed, k, alg="philox")
        return k + 1, *inner_step(networks, weights, support_images, step, step_seed)

    first = tf.convert_to_tensor(first_inner_step, tf.int32)
    last = first + tf.convert_to_tensor(num_inner_steps, tf.int32)
    zero = tf.constant(0.0)
    # One inner step at a time: its operations already fill the cores, and order is part of the algorithm.
    _, weights, inner_losses = tf.while_loop(
        lambda k, *_: k < last, body, (first, weights, InnerLosses(zero, zero, zero)), parallel_iterations=1
    )
    return weights, inner_losses


def adapt(
    networks: Networks,
    weights: Weights,
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    step: InnerStep,
    seed: tf.Tensor,
    first_inner_step: int | tf.Tensor = 0,
) -> Weights:
    """Adapts `weights` to one support set by `num_inner_steps` (K) inner steps; the arguments are left as they are.

    Args:
        weights: where to start, usually the meta-weights Φ.
        support_images: [n, H, W, C] in [−1, 1].
        num_inner_steps: K ≥ 0; 0 returns `weights`.
        seed: int32 [2]. The same seed gives the same result on the same device.
        first_inner_step: number of the first step. `adapt` over K1 steps and then over K2 more with
            `first_inner_step=K1` equals one `adapt` over K1 + K2.
    """
    return adapt_with_losses(networks, weights, support_images, num_inner_steps, step, seed, first_inner_step)[0]
