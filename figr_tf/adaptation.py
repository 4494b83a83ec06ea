"""The inner loop of FIGR: Algorithm 1, lines "repeat K times", and Algorithm 2 (Clouâtre & Demers 2019).

Weights go in, weights come out and no variable is touched, so any number of adaptations may run side by side.
Training, generation, evaluation and export all call `adapt` or `advance`; there is no other inner loop in the project.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from figr_tf import losses
from figr_tf.networks import Networks

OPTIMIZERS = ("sgd", "adam")
_ADAM_BETA_2 = 0.99
_ADAM_EPSILON = 1e-8


class Weights(NamedTuple):
    """The weights of both networks, in the order of `model.trainable_variables`."""

    generator: tuple[tf.Tensor, ...]
    discriminator: tuple[tf.Tensor, ...]


class InnerState(NamedTuple):
    """Where an adaptation stands: what the next inner step needs besides its number, the support set and the seed.

    Attributes:
        second_moments: Adam's, shaped like the weights; empty with SGD, which remembers nothing.
    """

    weights: Weights
    second_moments: Weights


class InnerLosses(NamedTuple):
    """Scalars of one inner step; the penalty is without its weight λ."""

    discriminator: tf.Tensor
    generator: tf.Tensor
    gradient_penalty: tf.Tensor


@dataclasses.dataclass(frozen=True)
class InnerStep:
    """How one inner step updates the weights.

    Attributes:
        learning_rate: both networks.
        optimizer: "sgd" (the paper's plain steps), or "adam" (Kingma & Ba 2015 with β1 = 0, β2 = .99).
        loss: "wasserstein", or "bce" (the paper's DCGAN ablation).
        gradient_penalty_weight: λ; 0 leaves the penalty out of the graph.
        gradient_penalty_norm: "image" (WGAN-GP) or "pixel" (the 2018 code), see `losses.gradient_penalty`.
    """

    learning_rate: float = 1e-4
    loss: str = "wasserstein"
    gradient_penalty_weight: float = 10.0
    gradient_penalty_norm: str = "image"
    optimizer: str = "sgd"

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {OPTIMIZERS}. Received: {self.optimizer!r}")
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


def _update(weights, second_moments, gradients, step: InnerStep, k: tf.Tensor):
    """One step of the inner optimiser, number k from 0, on one network → its weights and second moments."""
    pairs = zip(weights, gradients, strict=True)
    if step.optimizer == "sgd":
        return tuple(w - step.learning_rate * g for w, g in pairs), second_moments
    second_moments = tuple(
        _ADAM_BETA_2 * v + (1 - _ADAM_BETA_2) * tf.square(g) for v, g in zip(second_moments, gradients, strict=True)
    )
    # The moments start at 0; this is what they lack (Kingma & Ba 2015, section 3).
    share = 1.0 - _ADAM_BETA_2 ** tf.cast(k + 1, tf.float32)
    return tuple(
        w - step.learning_rate * g / (tf.sqrt(v / share) + _ADAM_EPSILON)
        for (w, g), v in zip(pairs, second_moments, strict=True)
    ), second_moments


def inner_step(
    networks: Networks, state: InnerState, support_images: tf.Tensor, step: InnerStep, seed: tf.Tensor, k: tf.Tensor
) -> tuple[InnerState, InnerLosses]:
    """One step of the discriminator, then one of the generator against it, each on fresh latents.

    Args:
        support_images: [n, H, W, C] in [−1, 1]; all of them are used.
        seed: int32 [2]; a function of it alone decides the latents and the interpolation points.
        k: number of this step, from 0.
    """
    weights, moments = state
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
    gradients = tape.gradient(total, weights.discriminator)
    discriminator, discriminator_moments = _update(weights.discriminator, moments.discriminator, gradients, step, k)

    with tf.GradientTape() as tape:
        tape.watch(weights.generator)
        images = generate_images(networks, weights.generator, generator_latents)
        generator_loss = losses.generator_loss(step.loss, score_images(networks, discriminator, images))
    gradients = tape.gradient(generator_loss, weights.generator)
    generator, generator_moments = _update(weights.generator, moments.generator, gradients, step, k)
    state = InnerState(Weights(generator, discriminator), Weights(generator_moments, discriminator_moments))
    return state, InnerLosses(discriminator_loss, generator_loss, penalty)


def start(weights: Weights, step: InnerStep) -> InnerState:
    """The state before the first inner step from `weights`."""
    if step.optimizer == "sgd":
        return InnerState(weights, Weights((), ()))
    return InnerState(weights, tf.nest.map_structure(tf.zeros_like, weights))


def advance(
    networks: Networks,
    state: InnerState,
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    step: InnerStep,
    seed: tf.Tensor,
    first_inner_step: int | tf.Tensor,
) -> tuple[InnerState, InnerLosses]:
    """`num_inner_steps` more inner steps, and the losses of the last of them (zeros if there is none).

    Args:
        first_inner_step: how many were taken before. K1 steps from `start` and then K2 more with `first_inner_step=K1`
            equal K1 + K2 in one go. Others: as in `adapt`.
    """

    def body(k, state, _):
        step_seed = tf.random.fold_in(seed, k, alg="philox")
        return k + 1, *inner_step(networks, state, support_images, step, step_seed, k)

    first = tf.convert_to_tensor(first_inner_step, tf.int32)
    last = first + tf.convert_to_tensor(num_inner_steps, tf.int32)
    zero = tf.constant(0.0)
    # One inner step at a time: its operations already fill the cores, and order is part of the algorithm.
    _, state, inner_losses = tf.while_loop(
        lambda k, *_: k < last, body, (first, state, InnerLosses(zero, zero, zero)), parallel_iterations=1
    )
    return state, inner_losses


def adapt_with_losses(
    networks: Networks,
    weights: Weights,
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    step: InnerStep,
    seed: tf.Tensor,
) -> tuple[Weights, InnerLosses]:
    """As `adapt`, with the losses of the last inner step (zeros if there was none)."""
    state, inner_losses = advance(networks, start(weights, step), support_images, num_inner_steps, step, seed, 0)
    return state.weights, inner_losses


def adapt(
    networks: Networks,
    weights: Weights,
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    step: InnerStep,
    seed: tf.Tensor,
) -> Weights:
    """Adapts `weights` to one support set by `num_inner_steps` (K) inner steps; the arguments are left as they are.

    Args:
        weights: where to start, usually the meta-weights Φ.
        support_images: [n, H, W, C] in [−1, 1].
        num_inner_steps: K ≥ 0; 0 returns `weights`.
        seed: int32 [2]. The same seed gives the same result on the same device.
    """
    return adapt_with_losses(networks, weights, support_images, num_inner_steps, step, seed)[0]
