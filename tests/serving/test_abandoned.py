"""Requests whose callers went away while they waited, at the gRPC side in front of a model that
does as told.
"""

import contextlib
import threading

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.embedded import grpc_front
from serving.embedded.admission import Admission
from serving.embedded.core import Core
from tests.serving.processes import PATIENCE, wait_for


class _HeldModel:
    """Its answers wait for `release`; `asked` has the output filters of the requests that ran."""

    def __init__(self):
        self.asked = []
        self.release = threading.Event()

    @contextlib.contextmanager
    def use(self, _version):
        yield self

    def answer(self, request, _timeout):
        self.asked.append(request.output_filter[0])
        assert self.release.wait(PATIENCE)
        return predict_pb2.PredictResponse()


def test_a_request_that_nobody_waits_for_leaves_the_queue_to_the_next():
    model, admission = _HeldModel(), Admission(max_running=1, max_queued=1)
    server, port = grpc_front.start(Core("figr", model, admission, PATIENCE), "127.0.0.1:0", 2)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(name):
            request = predict_pb2.PredictRequest(output_filter=[name])
            request.model_spec.name = "figr"
            return stub.Predict.future(request, timeout=PATIENCE)

        first = ask("first")
        wait_for(lambda: model.asked == ["first"])
        abandoned = ask("abandoned")
        wait_for(lambda: admission._queued == 1)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            ask("too many").result()
        abandoned.cancel()
        wait_for(lambda: admission._queued == 0)
        newest = ask("newest")
        wait_for(lambda: admission._queued == 1)
        model.release.set()
        first.result()
        newest.result()
    server.stop(None)
    assert model.asked == ["first", "newest"]
