"""Algorithm 2 of the paper (Clouâtre & Demers 2019), and a trained pair of networks that runs it.

From image files to samples: `FewShotModel.read_support`, then `FewShotModel.generate`, which scales
and checks, then `algorithm_2`, which adapts (the inner loop is in `figr_tf.gan.adaptation`) and
draws.
"""

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from figr_common import scaling
from figr_tf.core.errors import UserError
from figr_tf.core.random import standard_normal, stateless_seed
from figr_tf.data import support_sets
from figr_tf.gan import adaptation
from figr_tf.gan.adaptation import InnerState, Weights, generate_images, start, weights_of
from figr_tf.gan.augmentation import Augmentation
from figr_tf.gan.draws import LatentPool
from figr_tf.gan.networks import Networks, meta_weights
from figr_tf.gan.settings import Settings

# Streams of one user seed: the inner loop and the final latents never share random numbers.
_ADAPTATION, _SAMPLES, _AUGMENTATION = 0, 1, 2


def adaptation_seed(seed: int | tf.Tensor) -> tf.Tensor:
    """int32 [2] seed of the inner loop for one user seed."""
    return stateless_seed(seed, _ADAPTATION)


def sample_latents(
    networks: Networks, num_samples: int | tf.Tensor, seed: int | tf.Tensor
) -> tf.Tensor:
    """z for one user seed, [num_samples, latent_dim]; more of them begin with the same ones."""
    latent_dim = networks.generator.input_shape[-1]
    return standard_normal([num_samples, latent_dim], stateless_seed(seed, _SAMPLES))


def algorithm_2(
    adapt: Callable[..., Any],
    draw: Callable[..., tf.Tensor],
    support_images: tf.Tensor,
    num_inner_steps: int | tf.Tensor,
    latents: tf.Tensor,
    seed: int | tf.Tensor,
) -> tf.Tensor:
    """Algorithm 2: adapt a copy of Φ to a support set, then draw from the adapted generator.

    Training's pictures, `FewShotModel.generate` and the signatures of an export are all calls of
    this function. They differ in how they hold the weights.

    Args:
        adapt: W ← Φ, then K inner steps: a function of the support set, K and the user seed that
            returns the weights of the adapted generator, in any form that `draw` takes.
        draw: G(z; W): a function of such weights and of latents that returns images.
        support_images: [n, H, W, C] in [−1, 1].
        num_inner_steps: K ≥ 0.
        latents: z, [m, latent_dim].
        seed: the user's, 0 ≤ seed < 2**53.

    Returns:
        What `draw` returns: images [m, H, W, C].
    """
    adapted_generator = adapt(support_images, num_inner_steps, seed)
    return draw(adapted_generator, latents)


def _on_its_own(function: Callable, signature: list) -> Callable:
    """A tf.function that Grappler optimises apart: else what surrounds a call decides rounding."""
    fenced = tf.function(
        function, signature, autograph=False, experimental_attributes={"_noinline": True}
    )

    # By itself it would be traced twice for an export: while that is saved, and to compare.
    @functools.cache
    def traced() -> Callable:
        return fenced.get_concrete_function()

    return lambda *inputs: traced()(*inputs)


class FewShotModel:
    """A trained meta-initialisation, ready to adapt. Made by `models.load_figr`.

    Attributes:
        networks: they hold the meta-weights Φ, which nothing here changes.
        settings: of the training run.
        meta_step: meta-steps behind Φ.
        augmentation: what the support is replaced by, if anything.
        inner_steps: `adaptation.adapt` as a tf.function of (state, support_images [n, S, S, C] in
            [−1, 1], number of inner steps, user seed, and whether the latents that this seed
            draws are practised, if the settings have a pool of them).
        draw: `generate_images` as a tf.function of (generator weights, latents [m, latent_dim]).

    TensorFlow optimises these two on their own, whoever calls them, and so rounds the same in an
    export: the inner loop magnifies rounding until another picture comes out.
    """

    def __init__(
        self,
        networks: Networks,
        settings: Settings,
        meta_step: int,
        augmentation: Augmentation | None = None,
    ):
        self.augmentation = augmentation
        self.networks = networks
        self.settings = settings
        self.meta_step = meta_step
        spec = settings.network
        support = tf.TensorSpec([None, spec.image_size, spec.image_size, spec.channels], tf.float32)
        count, seed = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int64)
        # Only shapes and types: the functions are traced when they are first called.
        state = tf.nest.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype), self.start(weights_of(networks))
        )
        practises = tf.TensorSpec([], tf.bool)
        self.inner_steps = _on_its_own(self._inner_steps, [state, support, count, seed, practises])
        self._vary = _on_its_own(self._varied, [support, seed])
        latents = tf.TensorSpec([None, spec.latent_dim], tf.float32)
        generator = state.drawing_generator
        self.draw = _on_its_own(
            lambda *inputs: generate_images(networks, *inputs), [generator, latents]
        )
        # One graph for any n, K, m and seed.
        self._sample = tf.function(self.sample, [support, count, count, seed], autograph=False)

    def start(self, weights: Weights) -> InnerState:
        """The state before the first inner step."""
        return start(weights, self.settings.inner)

    def adapt(
        self,
        meta_weights: Weights,
        support_images: tf.Tensor,
        num_inner_steps: int | tf.Tensor,
        seed: int | tf.Tensor,
        practises: bool | tf.Tensor = False,
    ) -> tuple[tf.Tensor, ...]:
        """The first half of `algorithm_2`: W ← Φ, then K inner steps.

        Args:
            meta_weights: Φ.
            support_images: [n, H, W, C] in [−1, 1].
            num_inner_steps: K ≥ 0.
            seed: the user's, 0 ≤ seed < 2**53.
            practises: whether the steps take the latents of this seed, see `Settings.latent_pool`;
                from `pool_holds` where it is known what is drawn afterwards.

        Returns:
            The generator's weights that samples are drawn with, for `draw`.
        """
        state = self.start(meta_weights)
        practises = tf.convert_to_tensor(practises)
        state = self.inner_steps(state, support_images, num_inner_steps, seed, practises)
        return state.drawing_generator

    def pool_holds(self, num_samples: int | tf.Tensor) -> tf.Tensor:
        """bool []: whether the latents of so many samples are all in the pool.

        If they are not, no steps practise it: samples of other latents come out worse for that.
        """
        return tf.less_equal(num_samples, self.settings.latent_pool)

    def sample(
        self,
        support_images: tf.Tensor,
        num_inner_steps: int | tf.Tensor,
        num_samples: int | tf.Tensor,
        seed: int | tf.Tensor,
    ) -> tf.Tensor:
        """`algorithm_2` from the Φ that the networks hold, for use in a graph.

        Returns:
            [num_samples, H, W, C] in (−1, 1), with NaN where the adaptation diverged.
        """
        practises = self.pool_holds(num_samples)
        adapt_phi = functools.partial(self.adapt, weights_of(self.networks), practises=practises)
        latents = sample_latents(self.networks, num_samples, seed)
        return algorithm_2(adapt_phi, self.draw, support_images, num_inner_steps, latents, seed)

    def _varied(self, support_images, seed):
        if self.augmentation is None:
            return support_images
        return self.augmentation.vary(support_images, stateless_seed(seed, _AUGMENTATION))

    def _inner_steps(self, state, support_images, count, seed, practises):
        images = self._vary(support_images, seed)
        pool = None
        if size := self.settings.latent_pool:
            pool = LatentPool(sample_latents(self.networks, size, seed), practises)
        return adaptation.adapt(
            self.networks, state, images, count, self.settings.inner, adaptation_seed(seed), pool
        )

    @property
    def num_inner_steps(self) -> int:
        """K where nobody says."""
        return self.settings.num_test_inner_steps or self.settings.num_inner_steps

    def meta_weights(self) -> dict[str, list[tf.Variable]]:
        """Φ by group."""
        return meta_weights(self.networks)

    @property
    def age(self) -> str:
        """How long it was trained, for people."""
        return f"meta-step {self.meta_step}"

    def read_support(self, folder: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """See `support_sets.read`."""
        spec = self.settings.network
        return support_sets.read(folder, (spec.image_size, spec.channels), ink)

    def generate(
        self,
        support_images: np.ndarray,
        num_samples: int = 16,
        seed: int = 0,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Adapts to a support set and draws samples of its class; repeatable.

        Args:
            support_images: uint8 [n, S, S, C], dark ink on light paper.
            num_samples: images to draw, m. Where the settings have a `latent_pool`, that many at
                most are drawn best, and up to it more samples begin with the same ones.
            seed: 0 ≤ seed < 2**53; the same arguments give the same samples.
            num_inner_steps: K; by default those that the run draws with
                (`num_test_inner_steps`, else those of its training). More of them follow the
                support more closely.

        Returns:
            uint8 [num_samples, S, S, C].

        Raises:
            ValueError: support images of another shape or type, or a number out of its range.
            UserError: the adaptation diverged.
        """
        support = self._check_support(support_images)
        if num_inner_steps is None:
            num_inner_steps = self.num_inner_steps
        support_sets.check_numbers(num_samples, seed, num_inner_steps)
        samples = self._sample(support, num_inner_steps, num_samples, seed).numpy()
        # NaN would come out as plain paper, which looks like a picture.
        if not np.isfinite(samples).all():
            raise UserError(
                f"the adaptation diverged within {num_inner_steps} inner steps. Take fewer."
            )
        return scaling.signed_to_uint8(samples)

    def samples_along(
        self, support_images: np.ndarray, steps: Iterable[int], num_samples: int = 16, seed: int = 0
    ) -> Iterator[np.ndarray]:
        """The samples of `generate` as they form, from the same latents.

        Args:
            support_images, num_samples, seed: as of `generate`.
            steps: rising numbers of inner steps, such as range(11). The adaptation goes on from one
                to the next, so that all of them together cost no more than the last alone.

        Yields:
            uint8 [num_samples, S, S, C] for each; equal to `generate` with that `num_inner_steps`.
            Where the adaptation has diverged the images are blank paper.

        Raises:
            ValueError: as `generate`, or fewer steps after more.
        """
        support_sets.check_numbers(num_samples, seed)
        support = tf.constant(self._check_support(support_images))
        state = self.start(weights_of(self.networks))
        latents = sample_latents(self.networks, num_samples, seed)
        # Goes on from state to state, so that no step is taken twice.
        user_seed, practises, done = tf.constant(seed, tf.int64), self.pool_holds(num_samples), 0
        for num_inner_steps in steps:
            if num_inner_steps < done:
                raise ValueError(f"steps must rise. Received: {num_inner_steps} after {done}")
            if count := num_inner_steps - done:
                state = self.inner_steps(state, support, tf.constant(count), user_seed, practises)
                done = num_inner_steps
            yield scaling.signed_to_uint8(self.draw(state.drawing_generator, latents).numpy())

    def _check_support(self, support_images: np.ndarray) -> np.ndarray:
        spec = self.settings.network
        array = support_sets.check(
            support_images, (spec.image_size, spec.image_size, spec.channels)
        )
        # In NumPy: in a graph Grappler would make a product of the division, which rounds
        # otherwise.
        return scaling.uint8_to_signed(array)
