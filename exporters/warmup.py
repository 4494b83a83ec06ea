"""Warm-up requests: TensorFlow Serving runs each before it reports a new version as available.

The file is a TFRecord of `tensorflow.serving.PredictionLog`. Its few fields are written here as
protocol buffer wire format, so that exporting needs no package beside TensorFlow.
"""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from exporters import png
from exporters.signatures import AdaptingParts
from figr_common import scaling
from figr_tf.gan.networks import parameter_count

FILE_NAME = "tf_serving_warmup_requests"
_LENGTH_DELIMITED = 2  # The wire type of strings, bytes and messages.
# Field numbers of tensorflow_serving/apis: PredictionLog, PredictLog, PredictRequest, ModelSpec, a
# map's entry.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _INPUTS, _OUTPUT_FILTER = 1, 2, 3
_SIGNATURE_NAME = 3
_KEY, _VALUE = 1, 2


class Call(NamedTuple):
    """One call of a signature.

    Attributes:
        signature: its name.
        inputs: name → array; byte strings as object arrays.
        output_filter: names of the outputs asked for; empty asks for all.
    """

    signature: str
    inputs: dict[str, Any]
    output_filter: tuple[str, ...] = ()


def requests(parts: AdaptingParts, signature_names: list[str]) -> Iterator[Call]:
    """One request for each signature and each output filter that clients use."""
    support = support_images(parts)
    files = np.array(png.encode_images(tf.constant(support)).numpy(), dtype=object)
    steps: dict[str, Any] = {"num_inner_steps": np.int32(num_inner_steps(parts))}
    samples: dict[str, Any] = {"num_samples": np.int32(parts.defaults.num_samples)}
    seed: dict[str, Any] = {"seed": np.int64(0)}
    length = parameter_count(parts.model.networks.generator)
    for name in signature_names:
        # In an export of the kind "tasks" serving_default is `generate_tasks`, the last case.
        if name in ("generate", "serving_default") and "generate" in signature_names:
            yield Call(name, {"image_bytes": files} | samples | steps | seed, ("png_bytes",))
        elif name == "generate_tensor":
            yield Call(name, {"support_images": support} | samples | steps | seed, ("images",))
        elif name == "adapt":
            yield Call(
                name,
                {"image_bytes": files} | steps | seed,
                ("generator_delta", "fingerprint"),
            )
        elif name == "sample":
            delta = {
                "generator_delta": np.zeros(length, np.float32),
                "fingerprint": np.int64(parts.fingerprint),
            }
            # One for each output: to a session, another output is another graph, which it would
            # optimise during the first request for it.
            yield Call(name, delta | samples | seed, ("png_bytes",))
            yield Call(name, delta | samples | seed, ("images",))
        else:
            yield Call(
                name,
                {"support_images": support[None], "seed": np.zeros(1, np.int64)},
                ("images",),
            )


def num_inner_steps(parts: AdaptingParts) -> int:
    """Two build the loop's graph as well as ten do; fewer if the export allows no more."""
    return min(2, parts.limits.max_num_inner_steps)


def support_images(parts: AdaptingParts) -> np.ndarray:
    """float32 [n, H, W, C] of whole bytes over 255, n as trained: noise.

    Drawings would not do for a comparison. On plain paper many activations are 0 but for rounding,
    which then decides on which side of a PReLU's kink they lie, and the inner loop magnifies it.
    """
    num_shots = min(parts.model.settings.num_shots, parts.limits.max_num_shots)
    noise = np.random.default_rng(0).integers(0, 256, (num_shots, *parts.image_shape))
    return scaling.uint8_to_unit(noise)


def write(path: pathlib.Path, logged: Iterable[Call]) -> None:
    """Writes the requests where TensorFlow Serving looks for them: assets.extra/`FILE_NAME`."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in logged:
            writer.write(_prediction_log(request))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    # Seven bits a byte, the lowest first. The eighth says whether more follow.
    low, rest = value & 0x7F, value >> 7
    return bytes([low]) if not rest else bytes([low | 0x80]) + _varint(rest)


def _prediction_log(request: Call) -> bytes:
    message = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, request.signature.encode()))
    for name, value in request.inputs.items():
        message += _field(
            _INPUTS,
            _field(_KEY, name.encode()) + _field(_VALUE, _tensor_proto(value)),
        )
    for output in request.output_filter:
        message += _field(_OUTPUT_FILTER, output.encode())
    return _field(_PREDICT_LOG, _field(_REQUEST, message))


def _tensor_proto(value: np.ndarray) -> bytes:
    if value.dtype == object:
        return tf.make_tensor_proto(value, tf.string).SerializeToString()
    # One value may stand for all: the zeros of `sample`'s delta would be as long as the generator.
    if (value == value.flat[0]).all():
        return tf.make_tensor_proto(value.flat[0], value.dtype, value.shape).SerializeToString()
    return tf.make_tensor_proto(value).SerializeToString()
