"""Loads an export again and compares what it draws with what `adapt` draws in this process.

Graph with graph, both optimised: the inner loop magnifies rounding, so that another order of a sum
or a fused kernel may move a pixel by a twentieth. Grappler must stay on here: a reloaded function
is optimised as it was when it was saved, whatever this process says, and would be compared with one
that is not.
"""

import math
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from exporters import warmup
from exporters.signatures import AdaptingParts
from figr_common import scaling
from figr_tf.core.errors import UserError
from figr_tf.gan.generation import sample_latents

TOLERANCE = 1 / 255  # One level of an 8-bit image.


class _Expected(NamedTuple):
    """Samples of the warm-up requests' support set, [m, H, W, C] in [0, 1].

    Attributes:
        generated: after the inner steps of the requests, by what `generate` calls.
        adapted: likewise, by `adapt` and then `generate` of the module. It is another picture where
            the model practises the latents that it draws.
        unadapted: from the meta-weights as they are.
    """

    generated: np.ndarray
    adapted: np.ndarray
    unadapted: np.ndarray


def largest_difference(
    saved_model: pathlib.Path, parts: AdaptingParts, logged: Iterable[warmup.Call]
) -> float:
    """The largest difference of a pixel, in [0, 1], in the reloaded export's answers.

    Raises:
        UserError: it is above `TOLERANCE`.
    """
    return refuse_difference(_differences(tf.saved_model.load(str(saved_model)), parts, logged))


def refuse_difference(differences: dict[str, float]) -> float:
    """The largest difference of a signature; raises UserError if it is above `TOLERANCE`."""
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > TOLERANCE:
        raise UserError(
            f"the reloaded export's {worst} differs from the model by {differences[worst]:.3g}."
            " Nothing written."
        )
    return differences[worst]


def answered_images(loaded, request: warmup.Call) -> np.ndarray:
    """[m, H, W, C] in [0, 1] that a loaded SavedModel answers a request with."""
    return _images(answer(loaded, request), request.output_filter)


def _differences(loaded, parts: AdaptingParts, logged: Iterable[warmup.Call]) -> dict[str, float]:
    """By signature."""
    expected = _expected(parts)
    drawn = _typed(loaded, parts, tf.constant(warmup.num_inner_steps(parts)))
    differences = {"adapt and generate": difference(drawn, expected.adapted)}
    for request in logged:
        if request.signature == "serving_default":
            continue  # the same function as another one
        answered = answer(loaded, request)
        if "support_images" in request.inputs and "num_samples" not in request.inputs:
            # `generate_tasks`: the request has one task, and K is the export's.
            drawn = answered["images"][0]
            right = _generated(parts, parts.defaults.num_inner_steps)
        elif "generator_delta" in answered:
            # `adapt`: on top of the meta-weights, its answer draws what the adapted model draws.
            weights = parts.shared.generator_meta_weights() + answered["generator_delta"]
            drawn, right = _draw(parts, weights), expected.adapted
        else:
            drawn = _images(answered, request.output_filter)
            # `sample` is asked with a delta of zeros, so it draws what the meta-weights draw.
            unadapted = "generator_delta" in request.inputs
            right = expected.unadapted if unadapted else expected.generated
            if "png_bytes" in request.output_filter:
                right = in_bytes(right)
        differences[request.signature] = max(
            differences.get(request.signature, 0.0), difference(drawn, right)
        )
    return differences


def _expected(parts: AdaptingParts) -> _Expected:
    steps = warmup.num_inner_steps(parts)
    return _Expected(
        _generated(parts, steps),
        _typed(parts.module, parts, tf.constant(steps)).numpy(),
        _draw(parts, parts.shared.generator_meta_weights()).numpy(),
    )


def _generated(parts: AdaptingParts, num_inner_steps: int) -> np.ndarray:
    """By the functions in this process that the signatures call."""
    support = scaling.unit_to_signed(tf.constant(warmup.support_images(parts)))
    numbers = tf.constant(num_inner_steps), tf.constant(parts.defaults.num_samples)
    return parts.samples(support, *numbers, tf.constant(0, tf.int64)).numpy()


def _typed(module, parts: AdaptingParts, num_inner_steps: tf.Tensor) -> tf.Tensor:
    """By the typed methods of a module, loaded or not."""
    weights = module.adapt(tf.constant(warmup.support_images(parts)), num_inner_steps)
    return module.generate(
        weights, sample_latents(parts.model.networks, parts.defaults.num_samples, 0)
    )


def _draw(parts: AdaptingParts, weights: tf.Tensor) -> tf.Tensor:
    return parts.shared.generate(
        weights, sample_latents(parts.model.networks, parts.defaults.num_samples, 0)
    )


def answer(loaded, request: warmup.Call) -> dict[str, tf.Tensor]:
    """All outputs of a loaded SavedModel for a request, by name."""
    function = loaded.signatures[request.signature]
    specs = function.structured_input_signature[1]
    inputs = {k: tf.constant(value, specs[k].dtype) for k, value in request.inputs.items()}
    return function(**inputs)


def _images(answer: dict[str, tf.Tensor], output_filter: tuple[str, ...]) -> np.ndarray:
    if "images" in output_filter:
        return answer["images"].numpy()
    files = answer["png_bytes"].numpy()
    return np.stack([scaling.uint8_to_unit(tf.io.decode_png(data).numpy()) for data in files])


def in_bytes(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as a PNG file of theirs holds them, likewise."""
    return scaling.uint8_to_unit(scaling.unit_to_uint8(images))


def difference(drawn, right) -> float:
    """The largest between two arrays; infinite if there is a NaN."""
    largest = float(np.abs(np.asarray(drawn, np.float64) - np.asarray(right)).max())
    return math.inf if math.isnan(largest) else largest
