"""The adapting model as a `tf.Module`: what `tf.saved_model.load` gives back, without this project's code."""

import hashlib

import tensorflow as tf

from exporters import guards
from exporters.limits import MAX_SEED, Defaults, Limits
from figr_tf.adaptation import generate_images, weights_of
from figr_tf.generation import FewShotModel

GeneratorWeights = tuple[tf.Tensor, ...]


class AdaptingModel(tf.Module):
    """Meta-weights Φ, stored once, and functions that adapt copies of them; no call changes anything.

    Attributes:
        adapt: (support_images float32 [n, H, W, C] in [0, 1], num_inner_steps int32 [] = K, seed int64 [] = 0) →
            adapted generator weights, a tuple of tensors.
        generate: (weights from `adapt`, latents float32 [m, latent_dim], usually standard normal) → images float32
            [m, H, W, C] in [0, 1]; differentiable in both.
    """

    def __init__(self, model: FewShotModel, limits: Limits, defaults: Defaults):
        super().__init__(name="figr")
        # The resource variables behind the Keras ones: tracking these stores every weight once.
        self._meta_weights = [v.value for network in model.networks for v in network.trainable_variables]
        self._model = model
        spec = model.settings.network
        image_shape = (spec.image_size, spec.image_size, spec.channels)
        weight_specs = tuple(tf.TensorSpec(w.shape, w.dtype) for w in model.networks.generator.trainable_variables)

        def adapt_to(
            support_images,
            num_inner_steps=tf.constant(defaults.num_inner_steps),
            seed=tf.constant(0, tf.int64),
        ):
            support = guards.support_images(support_images, image_shape, limits.max_num_shots)
            return self.adapt_unit(support * 2.0 - 1.0, *checked_steps_and_seed(num_inner_steps, seed, limits))

        def generate(weights, latents):
            return to_unit(generate_images(model.networks, weights, latents))

        self.adapt = tf.function(
            adapt_to,
            [
                tf.TensorSpec([None, *image_shape], tf.float32, "support_images"),
                tf.TensorSpec([], tf.int32, "num_inner_steps"),
                tf.TensorSpec([], tf.int64, "seed"),
            ],
            autograph=False,
        )
        self.generate = tf.function(
            generate,
            [weight_specs, tf.TensorSpec([None, spec.latent_dim], tf.float32, "latents")],
            autograph=False,
        )

    def adapt_unit(self, support_images: tf.Tensor, num_inner_steps: tf.Tensor, seed: tf.Tensor) -> GeneratorWeights:
        """The one traced inner loop that every function and signature shares; support_images in [−1, 1], unchecked."""
        weights = weights_of(self._model.networks)
        return tuple(self._model.inner_steps(weights, support_images, 0, num_inner_steps, seed).generator)


def checked_steps_and_seed(num_inner_steps: tf.Tensor, seed: tf.Tensor, limits: Limits) -> tuple[tf.Tensor, tf.Tensor]:
    return (
        guards.scalar(num_inner_steps, "num_inner_steps", 0, limits.max_num_inner_steps),
        guards.scalar(seed, "seed", 0, MAX_SEED),
    )


def to_unit(images: tf.Tensor) -> tf.Tensor:
    """[−1, 1] → [0, 1]."""
    return (images + 1.0) * 0.5


def fingerprint(model: FewShotModel) -> int:
    """53 bits of sha256 over network spec and meta-weights: two models that share it are the same."""
    digest = hashlib.sha256(model.settings.network.to_json().encode())
    for weight in tf.nest.flatten(weights_of(model.networks)):
        digest.update(weight.numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big") & MAX_SEED
