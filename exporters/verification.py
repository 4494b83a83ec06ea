"""Loads an export again and compares what it draws with what `adapt` draws in this process, operation by operation."""

import math
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from exporters import warmup
from exporters.module import to_unit
from exporters.signatures import Parts
from figr_tf.adaptation import adapt, generate_images, weights_of
from figr_tf.errors import UserError
from figr_tf.generation import adaptation_seed, sample_latents

TOLERANCE = 1 / 255


class _Expected(NamedTuple):
    """Samples [m, H, W, C] in [0, 1] of the warm-up requests' support set, and of the meta-weights as they are."""

    adapted: np.ndarray
    unadapted: np.ndarray


def largest_difference(saved_model: pathlib.Path, parts: Parts, logged: Iterable[warmup.Request]) -> float:
    """Answers the warm-up requests with the reloaded export; the largest difference of any pixel, in [0, 1].

    Raises:
        UserError: it is above `TOLERANCE`.
    """
    loaded = tf.saved_model.load(str(saved_model))
    expected = _expected(parts)
    steps = tf.constant(warmup.num_inner_steps(parts))
    differences = {"adapt and generate": _difference(_typed(loaded, parts, steps), expected.adapted)}
    for request in logged:
        answer = _call(loaded, request.signature, request.inputs)
        if "support_images" in request.inputs and "num_samples" not in request.inputs:
            drawn, right = answer["images"][0], _typed(loaded, parts, tf.constant(parts.defaults.num_inner_steps))
        elif "generator_delta" in answer:
            drawn, right = _draw_with_delta(parts, answer["generator_delta"]), expected.adapted
        else:
            drawn = _images(answer, request.output_filter)
            right = expected.unadapted if "generator_delta" in request.inputs else expected.adapted
        differences[request.signature] = max(differences.get(request.signature, 0.0), _difference(drawn, right))
    worst = max(differences, key=lambda name: differences[name])
    if differences[worst] > TOLERANCE:
        raise UserError(
            f"the reloaded export's {worst} differs from adapt by {differences[worst]:.3g}. Nothing written."
        )
    return differences[worst]


def _expected(parts: Parts) -> _Expected:
    """Without tf.function, so that the traced inner loop is judged by another route."""
    networks, inner = parts.model.networks, parts.model.settings.inner
    support = tf.constant(warmup.support_images(parts) * 2.0 - 1.0)
    weights = weights_of(networks)
    adapted = adapt(networks, weights, support, warmup.num_inner_steps(parts), inner, adaptation_seed(0))
    latents = sample_latents(networks, parts.defaults.num_samples, 0)
    return _Expected(*(to_unit(generate_images(networks, w.generator, latents)).numpy() for w in (adapted, weights)))


def _typed(loaded, parts: Parts, num_inner_steps: tf.Tensor) -> tf.Tensor:
    weights = loaded.adapt(tf.constant(warmup.support_images(parts)), num_inner_steps)
    return loaded.generate(weights, sample_latents(parts.model.networks, parts.defaults.num_samples, 0))


def _draw_with_delta(parts: Parts, delta: tf.Tensor) -> tf.Tensor:
    networks = parts.model.networks
    meta_weights = weights_of(networks).generator
    pieces = tf.split(delta, [math.prod(w.shape) for w in meta_weights])
    weights = tuple(w + tf.reshape(piece, w.shape) for w, piece in zip(meta_weights, pieces, strict=True))
    return to_unit(generate_images(networks, weights, sample_latents(networks, parts.defaults.num_samples, 0)))


def _call(loaded, signature: str, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
    function = loaded.signatures[signature]
    specs = function.structured_input_signature[1]
    return function(**{name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()})


def _images(answer: dict[str, tf.Tensor], output_filter: tuple[str, ...]) -> np.ndarray:
    if "images" in output_filter:
        return answer["images"].numpy()
    return np.stack([tf.io.decode_png(data).numpy() / 255.0 for data in answer["png_bytes"].numpy()])


def _difference(drawn, right) -> float:
    return float(np.abs(np.asarray(drawn, np.float64) - np.asarray(right)).max())
