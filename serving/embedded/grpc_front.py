"""PredictionService and ModelService on TensorFlow Serving's published stubs."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.embedded.core import Core
from serving.errors import CODES, ServingError
from serving.transports import MAX_MESSAGE_BYTES

_MAX_DETAIL = 1000  # characters; gRPC sends them in a header of limited size
_SPARE_THREADS = 8  # for status and metadata, and to turn requests away


@contextlib.contextmanager
def _status_of(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except ServingError as error:
        context.abort(grpc.StatusCode[error.code], error.message[:_MAX_DETAIL])


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, core: Core):
        self._core = core

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext):
        with _status_of(context):
            # Called when the request ends for any reason, such as a caller who has gone.
            context.add_callback(self._core.look_again)
            return self._core.answer(request, context.time_remaining(), context.is_active)

    def GetModelMetadata(self, request, context: grpc.ServicerContext):
        with _status_of(context):
            # The one field that TensorFlow Serving has.
            if list(request.metadata_field) != ["signature_def"]:
                fields = list(request.metadata_field)
                raise ServingError(
                    "INVALID_ARGUMENT",
                    f"metadata_field must be signature_def. Received: {fields}",
                )
            version, signatures = self._core.signatures(request.model_spec)
            reply = get_model_metadata_pb2.GetModelMetadataResponse()
            reply.model_spec.name = request.model_spec.name
            reply.model_spec.version.value = version
            signature_map = get_model_metadata_pb2.SignatureDefMap(signature_def=signatures)
            reply.metadata["signature_def"].Pack(signature_map)
            return reply


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, core: Core):
        self._core = core

    def GetModelStatus(self, request, context: grpc.ServicerContext):
        with _status_of(context):
            reply = get_model_status_pb2.GetModelStatusResponse()
            for status in self._core.statuses(request.model_spec):
                state = get_model_status_pb2.ModelVersionStatus.State.Value(status.state)
                entry = reply.model_version_status.add(version=status.version, state=state)
                if status.error:
                    entry.status.error_code = CODES.index("UNKNOWN")
                    entry.status.error_message = status.error
            return reply


def start(core: Core, address: str, max_requests: int) -> tuple[grpc.Server, int]:
    """Serves in threads of its own.

    Args:
        address: "host:port"; port 0 takes a free one.
        max_requests: that may run or wait at once.

    Returns:
        The server and its port.

    Raises:
        ServingError: the port is taken.
    """
    threads = max_requests + _SPARE_THREADS
    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        options=[
            # Otherwise a second server on a port that is taken would get half of the requests.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ],
        # Beyond that gRPC itself answers RESOURCE_EXHAUSTED, and no queue builds up where nobody
        # sees it.
        maximum_concurrent_rpcs=threads,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _PredictionService(core),
        server,
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(core), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise ServingError(
            "UNAVAILABLE",
            f"cannot listen at {address}: is the port taken?",
        ) from error
    server.start()
    return server, port
