"""Our messages against the published ones of tensorflow-serving-api: the same bytes on the wire."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving import protocol, tensors
from serving.errors import CODES, ServingError, plain_sentence

ARRAYS = [
    np.array([[1.5, -2.0, np.inf]], np.float32),
    np.array(0.1, np.float64),
    np.array([-1, 2**31 - 1], np.int32),
    np.array(2**53 - 1, np.int64),
    np.array([0, 255], np.uint8),
    np.array([True, False]),
    np.zeros((0, 3), np.float32),
    tensors.byte_strings([b"", b"a\0", bytes(range(256))]),
]
IDS = [f"{array.dtype}{list(array.shape)}" for array in ARRAYS]


def _spec(message):
    message.model_spec.name = "figr"
    message.model_spec.version.value = 12
    message.model_spec.signature_name = "generate"


def _predict_request(kind):
    message = kind(output_filter=["png_bytes", "images"])
    _spec(message)
    message.inputs["seed"].dtype = 9
    message.inputs["seed"].int64_val.append(-7)
    return message


def _predict_response(kind):
    message = kind()
    _spec(message)
    message.outputs["images"].dtype = 1
    message.outputs["images"].tensor_shape.dim.add(size=3)
    message.outputs["images"].float_val.extend([1.0, 0.5])
    return message


def _metadata_request(kind):
    message = kind(metadata_field=["signature_def"])
    _spec(message)
    return message


def _metadata_response(kind):
    message = kind()
    _spec(message)
    message.metadata[
        "signature_def"
    ].type_url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    message.metadata["signature_def"].value = b"\1\2"
    return message


def _signatures(kind):
    message = kind()
    signature = message.signature_def["generate"]
    signature.method_name = "tensorflow/serving/predict"
    signature.inputs["seed"].name = "seed:0"
    signature.inputs["seed"].dtype = 9
    signature.outputs["images"].tensor_shape.dim.add(size=-1)
    signature.defaults["seed"].string_val.append(b"x")
    signature.defaults["seed"].tensor_content = b"y"
    return message


def _status_request(kind):
    message = kind()
    _spec(message)
    return message


def _status_response(kind):
    message = kind()
    message.model_version_status.add(version=3, state=30).status.error_message = "why"
    return message


@pytest.mark.parametrize(
    ("fill", "ours", "published"),
    [
        (_predict_request, protocol.PredictRequest, predict_pb2.PredictRequest),
        (_predict_response, protocol.PredictResponse, predict_pb2.PredictResponse),
        (
            _metadata_request,
            protocol.GetModelMetadataRequest,
            get_model_metadata_pb2.GetModelMetadataRequest,
        ),
        (
            _metadata_response,
            protocol.GetModelMetadataResponse,
            get_model_metadata_pb2.GetModelMetadataResponse,
        ),
        (_signatures, protocol.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
        (
            _status_request,
            protocol.GetModelStatusRequest,
            get_model_status_pb2.GetModelStatusRequest,
        ),
        (
            _status_response,
            protocol.GetModelStatusResponse,
            get_model_status_pb2.GetModelStatusResponse,
        ),
    ],
)
def test_messages_have_the_published_bytes(fill, ours, published):
    expected = fill(published).SerializeToString(deterministic=True)
    assert fill(ours).SerializeToString(deterministic=True) == expected
    assert ours.FromString(expected) == fill(ours)


def test_methods_have_the_published_paths():
    called = []

    class Channel:
        def unary_unary(self, path, **_):
            called.append(path)

        unary_stream = unary_unary

    prediction_service_pb2_grpc.PredictionServiceStub(Channel())
    model_service_pb2_grpc.ModelServiceStub(Channel())
    assert {protocol.PREDICT, protocol.GET_MODEL_METADATA, protocol.GET_MODEL_STATUS} <= set(called)


def test_states_and_codes_have_the_published_numbers():
    states = get_model_status_pb2.ModelVersionStatus.State.items()
    assert all(protocol.state_name(number) == name for name, number in states)
    for name in (
        "OK",
        "CANCELLED",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "DATA_LOSS",
    ):
        assert CODES.index(name) == getattr(tf.errors, name)


@pytest.mark.parametrize("array", ARRAYS, ids=IDS)
def test_tensors_reach_tensorflow_unchanged(array):
    theirs = tensor_pb2.TensorProto.FromString(tensors.to_proto(array).SerializeToString())
    received = tf.make_ndarray(theirs)
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)


@pytest.mark.parametrize("array", ARRAYS, ids=IDS)
def test_tensors_come_back_from_tensorflow_unchanged(array):
    theirs = tf.make_tensor_proto(array, tf.string if array.dtype == object else array.dtype)
    received = tensors.to_array(protocol.TensorProto.FromString(theirs.SerializeToString()))
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 2.0], [1.0, 2.0, 2.0, 2.0]), ([], [0.0] * 4)]
)
def test_the_last_of_too_few_values_stands_for_the_rest(values, expected):
    proto = protocol.TensorProto(dtype=1, float_val=values)
    proto.tensor_shape.dim.add(size=4)
    np.testing.assert_array_equal(tensors.to_array(proto), expected)


def test_values_that_do_not_fit_the_shape_are_refused():
    proto = protocol.TensorProto(dtype=1, float_val=[1.0, 2.0])
    with pytest.raises(ServingError, match="2 values for a tensor of shape"):
        tensors.to_array(proto)
    with pytest.raises(ServingError, match="type 20"):
        tensors.to_array(protocol.TensorProto(dtype=20))


def test_signature_defaults_survive_the_way():
    published = meta_graph_pb2.SignatureDef()
    published.defaults["seed"].CopyFrom(tf.make_tensor_proto(5, tf.int64))
    wire = get_model_metadata_pb2.SignatureDefMap(
        signature_def={"generate": published}
    ).SerializeToString()
    signature = protocol.SignatureDefMap.FromString(wire).signature_def["generate"]
    assert tensors.to_array(signature.defaults["seed"]) == 5


@pytest.mark.parametrize(
    "message",
    [
        "assertion failed: [steps must lie in [0, 200].] [[{{node Assert/Assert}}]]",
        "assertion failed: [steps must lie in [0, 200].]\n"
        "\t [[{{function_node __inference_f_1}}{{node Assert}}]]",
        "2 root error(s) found.\n"
        "  (0) INVALID_ARGUMENT: assertion failed: [steps must lie in [0, 200].]\n"
        "\t [[{{node a}}]]\n\t [[b/_1]]\n  (1) INVALID_ARGUMENT: other\n0 successful operations.",
        "steps must lie in [0, 200].",
    ],
)
def test_a_runtime_error_is_reduced_to_its_sentence(message):
    assert plain_sentence(message) == "steps must lie in [0, 200]."
