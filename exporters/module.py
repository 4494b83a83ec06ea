"""The adapting model as a `tf.Module`: what `tf.saved_model.load` gives back.

Whoever loads it needs nothing of this project.
"""

import hashlib
from collections.abc import Sequence

import tensorflow as tf

from exporters import guards
from exporters.limits import MAX_SEED, Defaults, Limits
from figr_common import scaling
from figr_tf.gan.adaptation import weights_of
from figr_tf.gan.generation import FewShotModel

_NUM_INNER_STEPS = tf.TensorSpec([], tf.int32, "num_inner_steps")
_SEED = tf.TensorSpec([], tf.int64, "seed")


class SharedFunctions:
    """What all functions and signatures share; in the SavedModel it stands once.

    Nothing here is checked. `guards` does that, before.

    Weights travel as one vector: a function of a SavedModel names each of its arguments several
    times over, and the two hundred weights of the paper's networks took more room that way than all
    that is done with them.

    Attributes:
        meta_weights: Φ, float32 [P]: the generator's weights, then the discriminator's.
        generator_size: P', how many of them are the generator's.
        adapt: (support_images float32 [n, H, W, C] in [−1, 1], num_inner_steps int32 [], seed int64
            [], whether it practises bool []) → the adapted generator's weights, float32 [P']. See
            `FewShotModel.adapt`.
        generate: (weights float32 [P'], latents float32 [m, latent_dim]) → images float32 [m, H, W,
            C] in [0, 1].
    """

    def __init__(self, model: FewShotModel):
        spec = model.settings.network
        like = weights_of(model.networks)
        self.meta_weights = tf.Variable(
            _joined(tf.nest.flatten(like)), trainable=False, name="meta_weights"
        )
        self.generator_size = sum(w.shape.num_elements() for w in like.generator)

        def adapt(support_images, num_inner_steps, seed, practises):
            phi = tf.nest.pack_sequence_as(
                like, _parted(self.meta_weights.read_value(), tf.nest.flatten(like))
            )
            return _joined(model.adapt(phi, support_images, num_inner_steps, seed, practises))

        def generate(weights, latents):
            return scaling.signed_to_unit(
                model.draw(tuple(_parted(weights, like.generator)), latents)
            )

        image_shape = (spec.image_size, spec.image_size, spec.channels)
        support_images = tf.TensorSpec([None, *image_shape], tf.float32)
        weights = tf.TensorSpec([self.generator_size], tf.float32, "weights")
        latents = tf.TensorSpec([None, spec.latent_dim], tf.float32, "latents")
        # Without autograph: there is nothing here for it to convert, and it would read the source
        # files again when the function is traced (docs/traps.md).
        practises = tf.TensorSpec([], tf.bool, "practises")
        self.adapt = tf.function(
            adapt, [support_images, _NUM_INNER_STEPS, _SEED, practises], autograph=False
        )
        self.generate = tf.function(generate, [weights, latents], autograph=False)

    def generator_meta_weights(self) -> tf.Tensor:
        """float32 [P'], unadapted."""
        return self.meta_weights.read_value()[: self.generator_size]


def _joined(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def _parted(vector: tf.Tensor, like: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Undoes `_joined`."""
    pieces = tf.split(vector, [tensor.shape.num_elements() for tensor in like])
    return [tf.reshape(piece, tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]


class AdaptingModel(tf.Module):
    """Meta-weights Φ, stored once, and functions that adapt copies of them.

    No call changes anything.

    Attributes:
        adapt: (support_images float32 [n, H, W, C] in [0, 1], num_inner_steps int32 [] = K, seed
            int64 [] = 0) → adapted generator weights, float32 [P'].
        generate: (weights from `adapt`, latents float32 [m, latent_dim], usually standard normal) →
            images float32 [m, H, W, C] in [0, 1]; differentiable in both.
    """

    def __init__(
        self, shared: SharedFunctions, model: FewShotModel, limits: Limits, defaults: Defaults
    ):
        super().__init__(name="figr")
        self._meta_weights = shared.meta_weights
        # Tracked, so that a network that redraws the support is written as well.
        self._augmentation = list(model.augmentation.variables) if model.augmentation else []
        spec = model.settings.network
        image_shape = (spec.image_size, spec.image_size, spec.channels)

        def adapt(
            support_images,
            num_inner_steps=tf.constant(defaults.num_inner_steps),
            seed=tf.constant(0, tf.int64),
        ):
            support = guards.support_images(support_images, image_shape, limits.max_num_shots)
            steps_and_seed = checked_steps_and_seed(num_inner_steps, seed, limits)
            # Whoever has the weights draws any latents with them.
            return shared.adapt(scaling.unit_to_signed(support), *steps_and_seed, False)

        support_images = tf.TensorSpec([None, *image_shape], tf.float32, "support_images")
        self.adapt = tf.function(adapt, [support_images, _NUM_INNER_STEPS, _SEED], autograph=False)
        # No guard: loaded in TensorFlow code, a function with an input signature checks shapes
        # itself, and the values are the caller's own.
        self.generate = shared.generate


def checked_steps_and_seed(
    num_inner_steps: tf.Tensor, seed: tf.Tensor, limits: Limits
) -> tuple[tf.Tensor, tf.Tensor]:
    """K and the seed of a request; the graph ends it where one is out of its range."""
    return (
        guards.scalar(num_inner_steps, "num_inner_steps", 0, limits.max_num_inner_steps),
        guards.scalar(seed, "seed", 0, MAX_SEED),
    )


def fingerprint(model: FewShotModel) -> int:
    """53 bits of sha256 over network spec and meta-weights; models that share it are the same."""
    digest = hashlib.sha256(model.settings.network.to_json().encode())
    for weight in tf.nest.flatten(weights_of(model.networks)):
        digest.update(weight.numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big") & MAX_SEED
