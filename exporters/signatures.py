"""The signatures of an adapting model's contract: guards around `algorithm_2` or its halves.

Optional inputs have eager tensors as Python defaults, which TensorFlow writes to
`SignatureDef.defaults` and a server fills in.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from exporters import guards, png
from exporters.limits import MAX_SEED, Defaults, Limits
from exporters.module import AdaptingModel, SharedFunctions, checked_steps_and_seed, fingerprint
from figr_common import scaling
from figr_tf.gan.generation import FewShotModel, algorithm_2, sample_latents

NAMES = ("generate", "generate_tensor", "adapt", "sample")
_IMAGE_BYTES = tf.TensorSpec([None], tf.string, "image_bytes")
_NUM_SAMPLES = tf.TensorSpec([], tf.int32, "num_samples")
_NUM_INNER_STEPS = tf.TensorSpec([], tf.int32, "num_inner_steps")
_SEED = tf.TensorSpec([], tf.int64, "seed")
_SEED_0 = tf.constant(0, tf.int64)


class AdaptingParts(NamedTuple):
    """What signatures are made of; `make_parts` makes it."""

    model: FewShotModel
    shared: SharedFunctions
    module: AdaptingModel
    limits: Limits
    defaults: Defaults
    fingerprint: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(S, S, C)."""
        spec = self.model.settings.network
        return spec.image_size, spec.image_size, spec.channels

    def read(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """string [n] → [n, H, W, C] in [−1, 1], bit for bit as `scaling.uint8_to_signed`.

        By its table: Grappler would replace the division by a product with 1 / 127.5, rounded, and
        the inner loop magnifies rounding.
        """
        size, _, channels = self.image_shape
        table = tf.constant(scaling.uint8_to_signed(np.arange(256, dtype=np.uint8)))
        pixels = png.decode_images(image_bytes, size, channels, self.limits)
        return tf.gather(table, tf.cast(pixels, tf.int32))

    def samples(
        self,
        support_images: tf.Tensor,
        num_inner_steps: tf.Tensor,
        num_samples: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """[n, H, W, C] in [−1, 1] → images [num_samples, H, W, C] in [0, 1], all finite."""
        practises = self.model.pool_holds(num_samples)
        return algorithm_2(
            functools.partial(self.shared.adapt, practises=practises),
            lambda weights, latents: guards.finite_result(self.shared.generate(weights, latents)),
            support_images,
            num_inner_steps,
            sample_latents(self.model.networks, num_samples, seed),
            seed,
        )

    def draw(self, weights: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Images [num_samples, H, W, C] in [0, 1], all finite, of generator weights [P']."""
        latents = sample_latents(self.model.networks, num_samples, seed)
        return guards.finite_result(self.shared.generate(weights, latents))

    def checked_num_samples(self, num_samples: tf.Tensor) -> tf.Tensor:
        """m of a request; the graph ends it where that is out of its range."""
        return guards.scalar(num_samples, "num_samples", 1, self.limits.max_num_samples)


def make_parts(model: FewShotModel, limits: Limits, defaults: Defaults) -> AdaptingParts:
    """Puts the parts of a model together.

    limits, defaults: of a request; both go into the contract.
    """
    shared = SharedFunctions(model)
    module = AdaptingModel(shared, model, limits, defaults)
    return AdaptingParts(model, shared, module, limits, defaults, fingerprint(model))


def _generate(parts: AdaptingParts) -> Callable:
    def generate(
        image_bytes,
        num_samples=tf.constant(parts.defaults.num_samples),
        num_inner_steps=tf.constant(parts.defaults.num_inner_steps),
        seed=_SEED_0,
    ):
        num_inner_steps, seed = checked_steps_and_seed(num_inner_steps, seed, parts.limits)
        num_samples = parts.checked_num_samples(num_samples)
        support = parts.read(image_bytes)
        samples = parts.samples(support, num_inner_steps, num_samples, seed)
        return {"png_bytes": png.encode_images(samples)}

    return tf.function(
        generate, [_IMAGE_BYTES, _NUM_SAMPLES, _NUM_INNER_STEPS, _SEED], autograph=False
    )


def _generate_tensor(parts: AdaptingParts) -> Callable:
    def generate_tensor(
        support_images,
        num_samples=tf.constant(parts.defaults.num_samples),
        num_inner_steps=tf.constant(parts.defaults.num_inner_steps),
        seed=_SEED_0,
    ):
        num_inner_steps, seed = checked_steps_and_seed(num_inner_steps, seed, parts.limits)
        num_samples = parts.checked_num_samples(num_samples)
        support = guards.support_images(
            support_images, parts.image_shape, parts.limits.max_num_shots
        )
        support = scaling.unit_to_signed(support)
        return {"images": parts.samples(support, num_inner_steps, num_samples, seed)}

    support = tf.TensorSpec([None, *parts.image_shape], tf.float32, "support_images")
    return tf.function(
        generate_tensor, [support, _NUM_SAMPLES, _NUM_INNER_STEPS, _SEED], autograph=False
    )


def _adapt(parts: AdaptingParts) -> Callable:
    def adapt(
        image_bytes, num_inner_steps=tf.constant(parts.defaults.num_inner_steps), seed=_SEED_0
    ):
        num_inner_steps, seed = checked_steps_and_seed(num_inner_steps, seed, parts.limits)
        # `sample` draws any latents.
        adapted = parts.shared.adapt(parts.read(image_bytes), num_inner_steps, seed, False)
        # A difference, so that zeros stand for the meta-weights. The warm-up request of `sample`
        # is such zeros, and its file stores them as one number.
        delta = guards.finite_result(adapted - parts.shared.generator_meta_weights())
        return {
            "generator_delta": delta,
            "fingerprint": tf.constant(parts.fingerprint, tf.int64),
        }

    return tf.function(adapt, [_IMAGE_BYTES, _NUM_INNER_STEPS, _SEED], autograph=False)


def _sample(parts: AdaptingParts) -> Callable:
    size = parts.shared.generator_size

    def sample(
        generator_delta,
        fingerprint,
        num_samples=tf.constant(parts.defaults.num_samples),
        seed=_SEED_0,
    ):
        num_samples = parts.checked_num_samples(num_samples)
        seed = guards.scalar(seed, "seed", 0, MAX_SEED)
        delta = guards.delta(generator_delta, size, fingerprint, parts.fingerprint)
        images = parts.draw(parts.shared.generator_meta_weights() + delta, num_samples, seed)
        # A client names the one that it wants; a session computes no other.
        return {"png_bytes": png.encode_images(images), "images": images}

    delta = tf.TensorSpec([size], tf.float32, "generator_delta")
    return tf.function(
        sample,
        [delta, tf.TensorSpec([], tf.int64, "fingerprint"), _NUM_SAMPLES, _SEED],
        autograph=False,
    )


def _generate_tasks(parts: AdaptingParts) -> Callable:
    """Several tasks in one request.

    A server may batch this one: all inputs and outputs have the leading task axis. So K and m are
    the export's.
    """

    def generate_tasks(support_images, seed):
        limits = parts.limits
        support = guards.support_images(
            support_images, parts.image_shape, limits.max_num_shots, limits.max_num_tasks
        )
        seed = guards.vector(seed, "seed", 1, limits.max_num_tasks)
        seed = guards.require(
            tf.equal(tf.size(seed), tf.shape(support)[0]), "seed must hold one item per task.", seed
        )
        seed = guards.require(
            tf.reduce_all((seed >= 0) & (seed <= MAX_SEED)),
            f"each seed must be from 0 to {MAX_SEED}.",
            seed,
        )
        return {"images": _samples_of_tasks(parts, scaling.unit_to_signed(support), seed)}

    support = tf.TensorSpec([None, None, *parts.image_shape], tf.float32, "support_images")
    return tf.function(
        generate_tasks, [support, tf.TensorSpec([None], tf.int64, "seed")], autograph=False
    )


def _samples_of_tasks(
    parts: AdaptingParts, support_images: tf.Tensor, seeds: tf.Tensor
) -> tf.Tensor:
    """[T, n, H, W, C] in [−1, 1], int64 [T] → [T, m, H, W, C] in [0, 1], task after task."""
    num_inner_steps, num_samples = parts.defaults.num_inner_steps, parts.defaults.num_samples

    def one_task(task):
        support, seed = task
        return parts.samples(support, tf.constant(num_inner_steps), tf.constant(num_samples), seed)

    images = tf.TensorSpec([num_samples, *parts.image_shape], tf.float32)
    # One task after another, so that the memory of one adaptation is enough.
    return tf.map_fn(
        one_task, (support_images, seeds), fn_output_signature=images, parallel_iterations=1
    )


_BUILDERS = {
    "generate": _generate,
    "generate_tensor": _generate_tensor,
    "adapt": _adapt,
    "sample": _sample,
}


def build(parts: AdaptingParts, names: tuple[str, ...]) -> dict[str, Callable]:
    """Signatures of the kind "generate" by name.

    "serving_default" is `generate`, where that is among them.
    """
    built = {name: _BUILDERS[name](parts) for name in names}
    # What a server runs where a request names no signature.
    return built | ({"serving_default": built["generate"]} if "generate" in built else {})


def build_tasks(parts: AdaptingParts) -> dict[str, Callable]:
    """Signatures of the kind "tasks"."""
    generate_tasks = _generate_tasks(parts)
    return {"generate_tasks": generate_tasks, "serving_default": generate_tasks}
