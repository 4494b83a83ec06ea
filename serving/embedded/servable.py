"""One loaded version of a model: checks a request against its signature, runs it, replies."""

import math
import pathlib
import struct
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving import tensors
from serving.embedded.c_session import CSession
from serving.errors import ServingError, plain_sentence

WARMUP_FILE = pathlib.PurePath("assets.extra/tf_serving_warmup_requests")
BATCHING_FILE = "batching_params.pbtxt"
MAX_TENSOR_BYTES = 256 * 2**20
# Seconds for one request: the first of a signature also optimises its graph.
_WARMUP_TIMEOUT = 600.0
_DEFAULT_SIGNATURE = "serving_default"


class Servable:
    """A version of a model in memory, warmed up.

    Attributes:
        version: its number, which is the name of its folder.
        signatures: name → SignatureDef.
    """

    def __init__(self, model: str, path: pathlib.Path):
        """Loads and warms up.

        Args:
            model: its name, which replies carry.
            path: version folder, such as models/figr/1.

        Raises:
            ServingError: either fails, or the version asks for batching.
        """
        if (path / BATCHING_FILE).exists():
            raise ServingError(
                "FAILED_PRECONDITION",
                f"{path / BATCHING_FILE}: batching would adapt to the images of several requests at"
                " once. Remove it.",
            )
        self.version = int(path.name)
        self._model = model
        self._session = CSession(path)
        self.signatures = self._session.signatures
        try:
            self._warm_up(path / WARMUP_FILE)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Frees the memory; no request may be under way or follow."""
        self._session.close()

    def answer(
        self,
        request: predict_pb2.PredictRequest,
        timeout: float,
    ) -> predict_pb2.PredictResponse:
        """Answers one request.

        Args:
            timeout: seconds.

        Raises:
            ServingError: with TensorFlow Serving's codes: FAILED_PRECONDITION for an unknown
                signature, INVALID_ARGUMENT for inputs that do not fit it, DEADLINE_EXCEEDED, or
                what the graph reports.
        """
        name = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        signature = self.signatures[name]
        # Checked against the signature here: the session would answer with the names of graph
        # nodes.
        feeds = _feeds(signature, request.inputs)
        outputs = _output_names(signature, list(request.output_filter))
        started = time.monotonic()
        try:
            arrays = self._session.run(
                feeds,
                [signature.outputs[alias].name for alias in outputs],
                timeout,
            )
        except ServingError as error:
            # A cancelled operation may report that it was cancelled before the session reports why.
            late = error.code == "CANCELLED" and time.monotonic() - started >= timeout
            raise ServingError(
                "DEADLINE_EXCEEDED" if late else error.code,
                plain_sentence(error.message),
            ) from error
        response = predict_pb2.PredictResponse()
        # Which version has answered: clients that asked for the newest cannot know.
        response.model_spec.name = self._model
        response.model_spec.version.value = self.version
        response.model_spec.signature_name = name
        for alias, array in zip(outputs, arrays, strict=True):
            response.outputs[alias].CopyFrom(tf.make_tensor_proto(array))
        return response

    def _warm_up(self, path: pathlib.Path) -> None:
        # Without warm-up requests the first real one of each signature takes longer.
        if not path.exists():
            return
        for number, log in enumerate(_prediction_logs(path)):
            if log.WhichOneof("log_type") != "predict_log":
                raise ServingError(
                    "UNIMPLEMENTED",
                    f"{path}: record {number} is not a predict request",
                )
            try:
                self.answer(log.predict_log.request, _WARMUP_TIMEOUT)
            except ServingError as error:
                raise ServingError(
                    error.code,
                    f"{path}: record {number} fails: {error.message}",
                ) from error


def _prediction_logs(path: pathlib.Path) -> Iterator[prediction_log_pb2.PredictionLog]:
    """Reads a TFRecord file: length [8], its checksum [4], data, its checksum [4], and so on."""
    data = path.read_bytes()
    position = 0
    while position < len(data):
        # A torn length is padded, so that the next check is the one that finds the file short.
        (length,) = struct.unpack_from("<Q", data.ljust(position + 8), position)
        record = data[position + 12 : position + 12 + length]
        if len(record) < length:
            raise ServingError("DATA_LOSS", f"{path}: ends in the middle of a record")
        try:
            yield prediction_log_pb2.PredictionLog.FromString(record)
        except message.DecodeError as error:
            raise ServingError("DATA_LOSS", f"{path}: holds a damaged record") from error
        position += length + 16


def _feeds(signature: meta_graph_pb2.SignatureDef, inputs) -> dict[str, np.ndarray]:
    """Tensor name → value for every input of a signature, defaults filled in."""
    extra = sorted(set(inputs) - set(signature.inputs))
    missing = sorted(set(signature.inputs) - set(inputs) - set(signature.defaults))
    if extra or missing:
        raise ServingError(
            "INVALID_ARGUMENT",
            f"inputs do not match the signature: sent but unknown {extra}, missing {missing};"
            f" it has {sorted(signature.inputs)}",
        )
    feeds = {}
    for alias, info in signature.inputs.items():
        proto = inputs[alias] if alias in inputs else signature.defaults[alias]
        if proto.dtype != info.dtype:
            wanted, received = (_type_name(dtype) for dtype in (info.dtype, proto.dtype))
            raise ServingError(
                "INVALID_ARGUMENT",
                f"{alias} must be of type {wanted}. Received: {received}",
            )
        feeds[info.name] = _array(alias, proto)
    return feeds


def _type_name(dtype: int) -> str:
    """Of a number of the protocol, whatever a caller has sent."""
    try:
        return tf.as_dtype(dtype).name if dtype else "none"
    except TypeError:
        return f"number {dtype}"


def _array(alias: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    # One value may stand for all, so a few bytes could ask for any amount of memory.
    if (
        proto.tensor_shape.unknown_rank
        or min(sizes, default=0) < 0
        # Eight bytes are the widest type.
        or math.prod(sizes) * 8 > MAX_TENSOR_BYTES
    ):
        raise ServingError(
            "INVALID_ARGUMENT",
            f"{alias} has a shape that is not accepted. Received: {sizes}",
        )
    try:
        if proto.dtype == tf.string.as_datatype_enum:
            return tensors.byte_strings(list(proto.string_val)).reshape(sizes)
        return tf.make_ndarray(proto)
    except (ValueError, TypeError) as error:
        raise ServingError(
            "INVALID_ARGUMENT",
            f"{alias}: values and shape {sizes} do not fit: {error}",
        ) from error


def _output_names(signature: meta_graph_pb2.SignatureDef, output_filter: list[str]) -> list[str]:
    unknown = sorted(set(output_filter) - set(signature.outputs))
    if unknown or len(set(output_filter)) < len(output_filter):
        raise ServingError(
            "INVALID_ARGUMENT",
            f"output_filter must hold different names out of {sorted(signature.outputs)}. Received:"
            f" {output_filter}",
        )
    # No filter asks for all, as in TensorFlow Serving.
    return output_filter or sorted(signature.outputs)
