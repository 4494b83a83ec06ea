"""The inner loop of FIGR (Clouâtre & Demers 2019), lines "repeat K times" of Algorithms 1 and 2.

Weights go in, weights come out and no variable is touched, so any number of adaptations may run
side by side. Training, generation, evaluation and export all call `adapt` or, to watch the losses,
`adapt_with_losses`: FIGR has this one inner loop and no other.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import checks, inner_loop
from figr_tf.core.weights import next_average
from figr_tf.gan import losses
from figr_tf.gan.descent import descend
from figr_tf.gan.draws import LatentPool, choice_seed, choose, draw
from figr_tf.gan.networks import Networks, apply_network

OPTIMIZERS = ("sgd", "adam")


class Weights(NamedTuple):
    """The weights of both networks, in the order of `model.trainable_variables`."""

    generator: tuple[tf.Tensor, ...]
    discriminator: tuple[tf.Tensor, ...]


class InnerLosses(NamedTuple):
    """Of one inner step, [] each; the penalty is without its weight λ, 0 where it is left out."""

    discriminator: tf.Tensor
    generator: tf.Tensor
    gradient_penalty: tf.Tensor


class InnerState(NamedTuple):
    """All that an adaptation carries from one inner step to the next.

    Attributes:
        steps_taken: int32 [].
        weights: W as it is now.
        second_moments: Adam's averages of squared gradients, nested like `weights`; empty with SGD.
        averaged_generator: the average of the generator's weights over the steps; empty unless
            `InnerSettings.average_decay` asks for it.
    """

    steps_taken: tf.Tensor
    weights: Weights
    second_moments: Weights
    averaged_generator: tuple[tf.Tensor, ...]

    @property
    def drawing_generator(self) -> tuple[tf.Tensor, ...]:
        """The generator's weights that samples are drawn with."""
        return self.averaged_generator or self.weights.generator


@dataclasses.dataclass(frozen=True)
class InnerSettings:
    """How one inner step updates the weights.

    Attributes:
        learning_rate: of both networks; ≥ 0.
        loss: "wasserstein", or "bce" (the paper's DCGAN ablation).
        gradient_penalty_weight: λ; 0 leaves the penalty out of the graph.
        gradient_penalty_norm: "image" (WGAN-GP) or "pixel" (the 2018 code), see
            `losses.gradient_penalty`.
        gradient_penalty_every: the penalty is part of every so many-th inner step; the others leave
            it out. Karras et al. 2020 (section 3.1, "lazy regularization") multiply its weight by
            as much; here λ stays as it is, which draws better.
        optimizer: "sgd" (the paper's), or "adam" without momentum (β1 = 0, β2 = 0.99), which starts
            anew with every task.
        batch_size: real images of one inner step, drawn anew from those at hand; None takes all of
            them at every step, as the paper does.
        average_decay: samples are drawn with the generator's weights averaged over the inner steps,
            with this decay per step; 0 draws with the weights of the last step.

    Raises:
        ValueError: a value outside of what is given above.
    """

    learning_rate: float = 1e-4
    loss: str = "wasserstein"
    gradient_penalty_weight: float = 10.0
    gradient_penalty_norm: str = "image"
    gradient_penalty_every: int = 1
    optimizer: str = "sgd"
    batch_size: int | None = None
    average_decay: float = 0.0

    def __post_init__(self):
        # Now and not at the first step, which comes after minutes of reading data.
        norms = losses.GRADIENT_PENALTY_NORMS
        checks.one_of(self, loss=losses.LOSSES, gradient_penalty_norm=norms, optimizer=OPTIMIZERS)
        given = () if self.batch_size is None else ("batch_size",)
        checks.at_least(self, 1, "gradient_penalty_every", *given)
        checks.at_least(self, 0, "learning_rate", "gradient_penalty_weight")
        if self.gradient_penalty_every > 1 and not self.gradient_penalty_weight:
            raise ValueError(
                "gradient_penalty_every needs a gradient_penalty_weight above 0. Received: 0"
            )
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1). Received: {self.average_decay}")


def start(weights: Weights, inner: InnerSettings) -> InnerState:
    """The state before the first inner step; `weights` are usually the meta-weights Φ."""
    # What a setting does not need is empty and costs neither memory nor operations.
    adam, averaged = inner.optimizer == "adam", inner.average_decay > 0
    return InnerState(
        tf.constant(0),
        weights,
        tf.nest.map_structure(tf.zeros_like, weights) if adam else Weights((), ()),
        weights.generator if averaged else (),
    )


def weights_of(networks: Networks) -> Weights:
    """The current values of the networks' variables (Φ)."""
    # Read anew at each call: a traced function must not keep the Φ of its first.
    return Weights(
        *(tuple(v.value.read_value() for v in model.trainable_variables) for model in networks)
    )


def generate_images(
    networks: Networks, generator_weights: tuple[tf.Tensor, ...], latents: tf.Tensor
) -> tf.Tensor:
    """Latents [B, latent_dim] → images [B, H, W, C] in (−1, 1)."""
    return apply_network(networks.generator, generator_weights, latents)


def inner_step(
    networks: Networks,
    state: InnerState,
    real_images: tf.Tensor,
    inner: InnerSettings,
    seed: tf.Tensor,
    latent_pool: LatentPool | None = None,
) -> tuple[InnerState, InnerLosses]:
    """One step of the discriminator, then one of the generator against it.

    Args:
        real_images: [N, H, W, C] in [−1, 1], of which `inner.batch_size` are drawn.
        latent_pool: see `adapt`.
        seed: int32 [2]; a function of it alone decides the latents, the interpolation points and
            which images are drawn.

    Returns:
        The state after the step, and the losses on its way there.
    """
    if inner.batch_size is not None:
        available = real_images
        real_images = choose(available, inner.batch_size, choice_seed(seed))
        if latent_pool is not None:
            real_images = latent_pool.images_of_step(real_images, available, state.steps_taken)
    n = tf.shape(real_images)[0]
    latents, mix = draw(networks, n, seed)
    if latent_pool is not None:
        latents = latent_pool.latents_of_step(latents, state.steps_taken)
    weights, moments, number = state.weights, state.second_moments, state.steps_taken + 1

    def score(discriminator_weights, images):
        return apply_network(networks.discriminator, discriminator_weights, images)

    # Computed outside the tape: what the discriminator's loss would send into the generator is
    # never used.
    generated = generate_images(networks, weights.generator, latents[:n])
    with tf.GradientTape() as tape:
        tape.watch(weights.discriminator)
        # Real and generated images in one batch: one forward pass instead of two.
        scores = score(weights.discriminator, tf.concat([real_images, generated], 0))
        discriminator_loss = losses.discriminator_loss(inner.loss, scores[:n], scores[n:])
        penalty = _penalty_at(
            number,
            inner,
            lambda images: score(weights.discriminator, images),
            # Points between a real and a generated image, each pair's at a random place (WGAN-GP).
            generated + mix * (real_images - generated),
        )
        total = discriminator_loss + inner.gradient_penalty_weight * penalty
    discriminator, discriminator_moments = descend(
        tape, total, weights.discriminator, moments.discriminator, inner.learning_rate, number
    )

    # The generator plays against the discriminator that has just moved.
    with tf.GradientTape() as tape:
        tape.watch(weights.generator)
        generated = generate_images(networks, weights.generator, latents[n:])
        generator_loss = losses.generator_loss(inner.loss, score(discriminator, generated))
    generator, generator_moments = descend(
        tape, generator_loss, weights.generator, moments.generator, inner.learning_rate, number
    )
    averaged = state.averaged_generator and next_average(
        state.averaged_generator, generator, inner.average_decay, state.steps_taken
    )
    moments = Weights(generator_moments, discriminator_moments)
    after = InnerState(number, Weights(generator, discriminator), moments, averaged)
    return after, InnerLosses(discriminator_loss, generator_loss, penalty)


def _penalty_at(
    number: tf.Tensor,
    inner: InnerSettings,
    score_images: Callable[[tf.Tensor], tf.Tensor],
    interpolates: tf.Tensor,
) -> tf.Tensor:
    """The penalty of the inner step with this number, [], or 0 where that step has none."""

    def penalty():
        return losses.gradient_penalty(score_images, interpolates, inner.gradient_penalty_norm)

    # A penalty without a weight would be computed for nothing.
    if not inner.gradient_penalty_weight:
        return tf.constant(0.0)
    if inner.gradient_penalty_every == 1:
        return penalty()
    # The last of so many steps and not the first, so that the losses of the K-th step show it,
    # where this divides K.
    its_turn = tf.equal(number % inner.gradient_penalty_every, 0)
    return tf.cond(its_turn, penalty, lambda: tf.constant(0.0))


def adapt_with_losses(
    networks: Networks,
    state: InnerState,
    real_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    inner: InnerSettings,
    seed: tf.Tensor,
    latent_pool: LatentPool | None = None,
) -> tuple[InnerState, InnerLosses]:
    """As `adapt`, with the losses of the last inner step (zeros if there was none)."""

    def one_step(k, carried):
        step_seed = tf.random.fold_in(seed, k, alg="philox")
        return inner_step(networks, carried[0], real_images, inner, step_seed, latent_pool)

    nothing_yet = InnerLosses(*[tf.constant(0.0)] * len(InnerLosses._fields))
    # From the steps taken so far on: a seed for each step, whether taken at a stretch or not.
    return inner_loop.repeat(one_step, (state, nothing_yet), num_inner_steps, state.steps_taken)


def adapt(
    networks: Networks,
    state: InnerState,
    real_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    inner: InnerSettings,
    seed: tf.Tensor,
    latent_pool: LatentPool | None = None,
) -> InnerState:
    """Adapts to one class by `num_inner_steps` (K) inner steps; the arguments are left as they are.

    Args:
        state: from `start`, or from a call before: K1 steps and then K2 more are K1 + K2 at once.
        real_images: [N, H, W, C] in [−1, 1]: the support set, or what augmentation made of it.
        num_inner_steps: K ≥ 0; 0 returns `state`.
        seed: int32 [2]. The same seed gives the same result on the same device.
        latent_pool: what latents the steps take, in turn; None: fresh ones, as in the paper.

    Returns:
        The state after K more steps.
    """
    return adapt_with_losses(
        networks, state, real_images, num_inner_steps, inner, seed, latent_pool
    )[0]
