"""JSON bodies of the REST interface ↔ predict messages.

The columnar form of https://www.tensorflow.org/tfx/serving/api_rest.
"""

import base64
import binascii
import json
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving import tensors
from serving.errors import ServingError


def request_from_json(body: bytes, signatures: dict) -> predict_pb2.PredictRequest:
    """Reads {"signature_name": …, "inputs": {name: value}}.

    Every input must be there: REST knows no defaults. Bytes are {"b64": "…"}.

    Args:
        signatures: name → SignatureDef.

    Raises:
        ServingError: INVALID_ARGUMENT with what is wrong; FAILED_PRECONDITION for an unknown
            signature.
    """
    try:
        fields = json.loads(body)
    # A few kilobytes of brackets are deep enough for a RecursionError.
    except (ValueError, RecursionError) as error:
        raise ServingError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("inputs"), dict):
        raise ServingError(
            "INVALID_ARGUMENT",
            'the body must be an object with "inputs", itself an object of names',
        )
    if unknown := sorted(set(fields) - {"inputs", "signature_name"}):
        raise ServingError(
            "INVALID_ARGUMENT",
            f"unknown keys {unknown}: this server knows the columnar form only",
        )
    name = fields.get("signature_name", "serving_default")
    if not isinstance(name, str) or name not in signatures:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    inputs, expected = fields["inputs"], signatures[name].inputs
    if set(inputs) != set(expected):
        raise ServingError(
            "INVALID_ARGUMENT",
            f"REST needs every input: {sorted(expected)}. Received: {sorted(inputs)}",
        )
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = name
    for alias, info in expected.items():
        request.inputs[alias].CopyFrom(_tensor(alias, inputs[alias], tf.as_dtype(info.dtype)))
    return request


def _tensor(alias: str, value: Any, dtype: tf.DType) -> tensor_pb2.TensorProto:
    try:
        if dtype == tf.string:
            strings = value if isinstance(value, list) else [value]
            array = tensors.byte_strings([_bytes(item) for item in strings])
            return tf.make_tensor_proto(
                array if isinstance(value, list) else array.reshape([]),
                dtype,
            )
        # Lists of unequal lengths raise ValueError here.
        array = np.array(value)
        # JSON's true would pass for 1, and 1.5 for a whole number, once they are cast.
        if array.dtype.kind not in ("if" if dtype.is_floating else "i"):
            raise ValueError(f"not {dtype.name}")
        # Cast and compared: NumPy lets a number that is too large overflow in silence.
        wide = array.astype(dtype.as_numpy_dtype)
        if dtype.is_integer and not np.array_equal(wide, array):
            raise ValueError(f"out of the range of {dtype.name}")
        return tf.make_tensor_proto(wide, dtype)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise ServingError(
            "INVALID_ARGUMENT",
            f"{alias}: JSON value is not a {dtype.name} tensor: {error}",
        ) from error


def _bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and set(item) == {"b64"} and isinstance(item["b64"], str):
        # Without `validate` Python drops what is not base64 in silence.
        return base64.b64decode(item["b64"], validate=True)
    raise ValueError('need a string or {"b64": "…"}')


def reply_to_json(response: predict_pb2.PredictResponse) -> dict:
    """{"outputs": {name: value}}, or the value alone where there is one output.

    Bytes are base64, and only under a name that ends in _bytes.

    Raises:
        ServingError: INTERNAL for strings under another name.
    """
    outputs = {}
    for alias, proto in response.outputs.items():
        array = tf.make_ndarray(proto)
        if array.dtype != object:
            outputs[alias] = array.tolist()
        elif alias.endswith("_bytes"):
            outputs[alias] = [{"b64": base64.b64encode(item).decode()} for item in array.tolist()]
        else:
            raise ServingError(
                "INTERNAL",
                f"{alias}: strings go into JSON only under a name that ends in _bytes",
            )
    return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}
