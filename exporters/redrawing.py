"""The export of a redrawing network: signatures as of an adapting model, without inner steps."""

import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from exporters import contract, guards, png, verification, warmup
from exporters.limits import MAX_SEED, Limits
from figr_common import scaling
from figr_tf.core import runs
from figr_tf.gan.networks import parameter_count
from figr_tf.warp import model as warp_model

NAMES = ("generate", "generate_tensor")
_NUM_SAMPLES = tf.TensorSpec([], tf.int32, "num_samples")
_SEED = tf.TensorSpec([], tf.int64, "seed")
_SEED_0 = tf.constant(0, tf.int64)


class RedrawingModel(tf.Module):
    """A warp generator's weights and the one function that every signature shares.

    Attributes:
        generate: (support_images float32 [n, S, S, 1] in [0, 1], ink 0; num_samples int32 []; seed
            int64 [] = 0) → images float32 [num_samples, S, S, 1] in [0, 1].
    """

    def __init__(self, model: warp_model.WarpModel, limits: Limits, num_samples: int):
        super().__init__(name="figr")
        # The resource variables behind the Keras ones: tracking these stores every weight once.
        self._weights = [v.value for v in model.generator.weights]
        size = model.settings.data.image_size

        def generate(support_images, num_samples=tf.constant(num_samples), seed=_SEED_0):
            support = guards.support_images(support_images, (size, size, 1), limits.max_num_shots)
            # The guards lose the shape, and a Keras network wants to know it.
            support.set_shape([None, size, size, 1])
            return model.redraw(
                support,
                guards.scalar(num_samples, "num_samples", 1, limits.max_num_samples),
                guards.scalar(seed, "seed", 0, MAX_SEED),
            )

        support = tf.TensorSpec([None, size, size, 1], tf.float32, "support_images")
        self.generate = tf.function(generate, [support, _NUM_SAMPLES, _SEED], autograph=False)


class RedrawingParts(NamedTuple):
    """What signatures are made of; `make_parts` makes it.

    Attributes:
        num_samples: where a request does not say.
    """

    model: warp_model.WarpModel
    module: RedrawingModel
    limits: Limits
    num_samples: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(S, S, 1)."""
        size = self.model.settings.data.image_size
        return size, size, 1


def make_parts(model: warp_model.WarpModel, limits: Limits, num_samples: int) -> RedrawingParts:
    """Puts the parts of a model together."""
    return RedrawingParts(model, RedrawingModel(model, limits, num_samples), limits, num_samples)


def _generate(parts: RedrawingParts) -> Callable:
    def generate(image_bytes, num_samples=tf.constant(parts.num_samples), seed=_SEED_0):
        size, _, channels = parts.image_shape
        pixels = png.decode_images(image_bytes, size, channels, parts.limits)
        support = scaling.bytes_to_unit(tf.cast(pixels, tf.float32))
        samples = parts.module.generate(support, num_samples, seed)
        return {"png_bytes": png.encode_images(samples)}

    return tf.function(
        generate,
        [tf.TensorSpec([None], tf.string, "image_bytes"), _NUM_SAMPLES, _SEED],
        autograph=False,
    )


def _generate_tensor(parts: RedrawingParts) -> Callable:
    def generate_tensor(support_images, num_samples=tf.constant(parts.num_samples), seed=_SEED_0):
        return {"images": parts.module.generate(support_images, num_samples, seed)}

    support = tf.TensorSpec([None, *parts.image_shape], tf.float32, "support_images")
    return tf.function(generate_tensor, [support, _NUM_SAMPLES, _SEED], autograph=False)


_BUILDERS = {"generate": _generate, "generate_tensor": _generate_tensor}


def build(parts: RedrawingParts, names: tuple[str, ...]) -> dict[str, Callable]:
    """Signatures by name; "serving_default" is `generate`, where that is among them."""
    built = {name: _BUILDERS[name](parts) for name in names}
    return built | ({"serving_default": built["generate"]} if "generate" in built else {})


def facts(parts: RedrawingParts) -> contract.Facts:
    """What the contract says of the model."""
    model = parts.model
    settings = model.settings
    return contract.Facts(
        image_shape=parts.image_shape,
        ranges=contract.request_ranges(parts.limits),
        defaults={"num_samples": parts.num_samples, "seed": 0},
        model={
            "fingerprint": int(model.weights_sha256[:16], 16) & MAX_SEED,
            "weights_sha256": model.weights_sha256,
            "meta_step": model.meta_step,
            "num_generator_parameters": parameter_count(model.generator),
        },
        training=contract.training_facts(
            runs.RunFolder(model.folder), settings.data.dataset, settings.num_shots
        ),
    )


def _support_images(parts: RedrawingParts) -> np.ndarray:
    """float32 [n, S, S, 1] of whole bytes over 255, n as trained: bars, one a drawing."""
    size = parts.image_shape[0]
    support = np.ones(
        (min(parts.model.settings.num_shots, parts.limits.max_num_shots), *parts.image_shape),
        np.float32,
    )
    # Strokes and no noise: no inner loop magnifies rounding here (see `warmup.support_images`), and
    # strokes are what the network redraws.
    for i, image in enumerate(support):
        image[size // 4 : -size // 4, size // 4 + i % (size // 2)] = 0.0
    return support


def warm_up(parts: RedrawingParts, signature_names: list[str]) -> Iterator[warmup.Call]:
    """One request for each signature and each output filter that clients use."""
    support = _support_images(parts)
    files = np.array(png.encode_images(tf.constant(support)).numpy(), dtype=object)
    numbers = {"num_samples": np.int32(parts.num_samples), "seed": np.int64(0)}
    for name in signature_names:
        if name == "generate_tensor":
            yield warmup.Call(name, {"support_images": support} | numbers, ("images",))
        else:
            yield warmup.Call(name, {"image_bytes": files} | numbers, ("png_bytes",))


def largest_difference(
    saved_model: pathlib.Path, parts: RedrawingParts, logged: Iterable[warmup.Call]
) -> float:
    """Of the reloaded export, in [0, 1]; see `verification.largest_difference`."""
    support = scaling.unit_to_uint8(_support_images(parts))
    right = scaling.uint8_to_unit(parts.model.generate(support, parts.num_samples))
    loaded = tf.saved_model.load(str(saved_model))
    answers = {
        r.signature: verification.answered_images(loaded, r)
        for r in logged
        if r.signature != "serving_default"
    }
    # Of numbers against rounded bytes: half a step of rounding is no difference.
    return verification.refuse_difference(
        {
            name: verification.difference(verification.in_bytes(drawn), right)
            for name, drawn in answers.items()
        }
    )
