"""What an inner step draws: latents, points between images, and which images it sees."""

from typing import NamedTuple

import tensorflow as tf

from figr_tf.core import random
from figr_tf.gan.networks import Networks

# `draw` takes the two halves of a split of an inner step's seed. The choice of its images has a
# stream beside them; any number keeps it apart.
_CHOICE_STREAM = 2


class Draws(NamedTuple):
    """Random numbers of one inner step.

    Attributes:
        latents: [2n, latent_dim], the discriminator's first.
        mix: [n, 1, 1, 1] in [0, 1), how much of each interpolate is real.
    """

    latents: tf.Tensor
    mix: tf.Tensor


def draw(networks: Networks, n: tf.Tensor, seed: tf.Tensor) -> Draws:
    """For an inner step on n real images; `seed` is int32 [2]."""
    latent_seed, mix_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
    latents = random.standard_normal([2, n, networks.generator.input_shape[-1]], latent_seed)
    mix = tf.random.stateless_uniform([n, 1, 1, 1], mix_seed, alg="philox")
    return Draws(tf.reshape(latents, [2 * n, latents.shape[-1]]), mix)


class LatentPool(NamedTuple):
    """Latents that an adaptation goes through in turn, round and round.

    Its steps then go through the real images in turn as well, which are seen equally often so.

    Attributes:
        latents: [P, latent_dim].
        is_used: bool []; where it is false the steps have fresh latents and chosen images.
    """

    latents: tf.Tensor
    is_used: tf.Tensor

    def latents_of_step(self, fresh: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """The latents [2n, latent_dim] of a step, counted from 0: the discriminator's first."""
        n, size = tf.shape(fresh)[0] // 2, self.latents.shape[0]
        # The generator is half a round ahead of the discriminator, so that each goes through all.
        place = step * n + tf.range(n)
        places = tf.concat([place, place + size // 2], 0) % size
        return tf.where(self.is_used, tf.gather(self.latents, places), fresh)

    def images_of_step(self, chosen: tf.Tensor, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """The real images [n, H, W, C] of a step: the next n of `images`, or those `chosen`."""
        n = tf.shape(chosen)[0]
        places = (step * n + tf.range(n)) % tf.shape(images)[0]
        return tf.where(self.is_used, tf.gather(images, places), chosen)


def choice_seed(seed: tf.Tensor) -> tf.Tensor:
    """int32 [2]: the seed that chooses the images of an inner step, from the step's own seed."""
    return tf.random.fold_in(seed, _CHOICE_STREAM, alg="philox")


def choose(images: tf.Tensor, count: int, seed: tf.Tensor) -> tf.Tensor:
    """`count` of the images [N, H, W, C] at random, none twice before all have been taken once.

    Args:
        count: where it is more than N, images come again.
        seed: int32 [2].
    """
    available = tf.shape(images)[0]
    rounds = -(-count // available)
    # The order of random numbers is a random order; images of a later round rank behind.
    ranks = tf.random.stateless_uniform([rounds, available], seed, alg="philox")
    ranks -= tf.cast(tf.range(rounds), tf.float32)[:, tf.newaxis]
    chosen = tf.math.top_k(tf.reshape(ranks, [-1]), count, sorted=False).indices
    return tf.gather(images, chosen % available)
