"""The inner loop of FIGR: Algorithm 1, lines "repeat K times", and Algorithm 2 (Clouâtre & Demers 2019).

Weights go in, weights come out and no variable is touched, so any number of adaptations may run side by side.
Training, generation, evaluation and export all call `adapt`; there is no other inner loop in the project.

It adapts one task, or T tasks side by side: their weights and images lie one after another along the last axis (see
`layers`), which costs a small network far less than T adaptations in turn. Each task's result is its own: the same, up
to rounding, as alone.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from figr_tf import losses
from figr_tf.networks import Networks, apply_network


class Weights(NamedTuple):
    """The weights of both networks, in the order of `model.trainable_variables`; of one task or of T side by side."""

    generator: tuple[tf.Tensor, ...]
    discriminator: tuple[tf.Tensor, ...]


class InnerLosses(NamedTuple):
    """Of one inner step, [T] each; the penalty is without its weight λ."""

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
    """int32 [2] seed of one random stream: `seed` (int64 at most) folded with each integer of `path` in turn."""
    stream = tf.bitcast(tf.cast(seed, tf.int64), tf.int32)  # low word, high word; the high one is 0 below 2³¹
    for part in path:
        stream = tf.random.fold_in(stream, part, alg="philox")
    return stream


def draw_latents(shape: list, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal latents of the given shape, [..., latent_dim]; `seed` is int32 [2]."""
    return tf.random.stateless_normal(shape, seed, alg="philox")


def side_by_side(weights: Weights, num_tasks: int) -> Weights:
    """The same weights for each of `num_tasks` tasks: [..., C] → [..., T·C]."""
    if num_tasks == 1:
        return weights
    return tf.nest.map_structure(lambda w: tf.tile(w, [1] * (w.shape.rank - 1) + [num_tasks]), weights)


def task_mean(weights: Weights, num_tasks: int) -> Weights:
    """The mean over tasks side by side: [..., T·C] → [..., C]."""
    if num_tasks == 1:
        return weights
    return tf.nest.map_structure(
        lambda w: tf.reduce_mean(tf.reshape(w, [*w.shape[:-1], num_tasks, w.shape[-1] // num_tasks]), -2), weights
    )


def _join_tasks(x: tf.Tensor) -> tf.Tensor:
    """[T, B, ..., C] → [B, ..., T·C]."""
    rank = x.shape.rank
    joined = tf.transpose(x, [*range(1, rank - 1), 0, rank - 1])
    return tf.reshape(joined, [-1, *joined.shape[1:-2], x.shape[0] * x.shape[-1]])


def _split_tasks(x: tf.Tensor, num_tasks: int) -> tf.Tensor:
    """[B, ..., T·C] → [T, B, ..., C]."""
    split = tf.reshape(x, [-1, *x.shape[1:-1], num_tasks, x.shape[-1] // num_tasks])
    rank = split.shape.rank
    return tf.transpose(split, [rank - 2, *range(rank - 2), rank - 1])


def generate_images(networks: Networks, generator_weights: tuple[tf.Tensor, ...], latents: tf.Tensor) -> tf.Tensor:
    """Latents [B, latent_dim] → images [B, H, W, C] in (−1, 1); with a leading T in both for T tasks side by side."""
    if latents.shape.rank == 2:
        return apply_network(networks.generator, generator_weights, latents)
    num_tasks = latents.shape[0]
    joined = apply_network(networks.generator, generator_weights, _join_tasks(latents), num_tasks)
    return _split_tasks(joined, num_tasks)


def _descend(
    tape: tf.GradientTape, loss: tf.Tensor, weights: tuple[tf.Tensor, ...], rate: float
) -> tuple[tf.Tensor, ...]:
    """One SGD step. The rate enters where the gradient starts, and so costs nothing per weight."""
    updates = tape.gradient(loss, weights, output_gradients=tf.fill(tf.shape(loss), rate))
    return tuple(weight - update for weight, update in zip(weights, updates, strict=True))


class _Draws(NamedTuple):
    """Random numbers of one inner step: latents [2n, T·latent_dim], first the discriminator's; mix [n, 1, 1, T·C]."""

    latents: tf.Tensor
    mix: tf.Tensor


def _draw(networks: Networks, n: tf.Tensor, seeds: tf.Tensor) -> _Draws:
    """Each task's numbers are a function of its own seed alone, whatever is beside it."""
    latents, mixes = [], []
    for seed in tf.unstack(seeds):
        latent_seed, mix_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        drawn = draw_latents([2, n, networks.generator.input_shape[-1]], latent_seed)
        latents.append(tf.reshape(drawn, [2 * n, drawn.shape[-1]]))
        mix = tf.random.stateless_uniform([n, 1, 1, 1], mix_seed, alg="philox")
        mixes += [mix] * networks.discriminator.input_shape[-1]
    return _Draws(tf.concat(latents, -1), tf.concat(mixes, -1))


def inner_step(
    networks: Networks, weights: Weights, support_images: tf.Tensor, step: InnerStep, seeds: tf.Tensor
) -> tuple[Weights, InnerLosses]:
    """One SGD step of the discriminator, then one of the generator against it, each on fresh latents.

    Args:
        weights: of T tasks side by side.
        support_images: [n, H, W, T·C] in [−1, 1]; all of them are used.
        seeds: int32 [T, 2]; a function of them alone decides the latents and the interpolation points.
    """
    n = tf.shape(support_images)[0]
    num_tasks = seeds.shape[0]
    latents, mix = _draw(networks, n, seeds)

    def generate(generator_weights, latents):
        return apply_network(networks.generator, generator_weights, latents, num_tasks)

    def score(discriminator_weights, images):
        return apply_network(networks.discriminator, discriminator_weights, images, num_tasks)

    # Computed outside the tape: what the discriminator's loss would send into the generator is never used.
    generated = generate(weights.generator, latents[:n])
    with tf.GradientTape() as tape:
        tape.watch(weights.discriminator)
        scores = score(weights.discriminator, tf.concat([support_images, generated], 0))
        discriminator_loss = losses.discriminator_loss(step.loss, scores[:n], scores[n:])
        penalty = tf.zeros([num_tasks])
        if step.gradient_penalty_weight:
            penalty = losses.gradient_penalty(
                lambda images: score(weights.discriminator, images),
                generated + mix * (support_images - generated),
                step.gradient_penalty_norm,
            )
        total = discriminator_loss + step.gradient_penalty_weight * penalty
    discriminator = _descend(tape, total, weights.discriminator, step.learning_rate)

    with tf.GradientTape() as tape:
        tape.watch(weights.generator)
        generator_loss = losses.generator_loss(
            step.loss, score(discriminator, generate(weights.generator, latents[n:]))
        )
    generator = _descend(tape, generator_loss, weights.generator, step.learning_rate)
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
    if support_images.shape.rank == 4:
        support_images, seed = support_images[tf.newaxis], seed[tf.newaxis]
    num_tasks = support_images.shape[0]
    support_images = _join_tasks(support_images)

    def body(k, weights, _):
        seeds = tf.stack([tf.random.fold_in(task_seed, k, alg="philox") for task_seed in tf.unstack(seed, num_tasks)])
        return k + 1, *inner_step(networks, weights, support_images, step, seeds)

    first = tf.convert_to_tensor(first_inner_step, tf.int32)
    last = first + tf.convert_to_tensor(num_inner_steps, tf.int32)
    zeros = tf.zeros([num_tasks])
    # One inner step at a time: its operations already fill the cores, and order is part of the algorithm.
    _, weights, inner_losses = tf.while_loop(
        lambda k, *_: k < last, body, (first, weights, InnerLosses(zeros, zeros, zeros)), parallel_iterations=1
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

    For T tasks at once, `support_images` is [T, n, H, W, C], `seed` is [T, 2], and `weights` and the result are of T
    tasks `side_by_side`.
    """
    return adapt_with_losses(networks, weights, support_images, num_inner_steps, step, seed, first_inner_step)[0]
