"""The model over gRPC."""

import pathlib
from typing import Any

import grpc
import numpy as np

from figr_common import addresses, proxies
from serving import protocol, tensors
from serving.errors import ServingError, plain_sentence
from serving.transports import MAX_MESSAGE_BYTES, Endpoint, VersionStatus

_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # The channel's own pauses grow to two minutes; ours decide when to try again.
    # min_reconnect_backoff stays at its 20 s: it is also what one attempt to connect may take.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


def _host(address: str) -> str:
    """Of "host:port"; "" for gRPC's own forms, such as unix:/path and dns:///host:port."""
    if "/" in address:
        return ""
    try:
        return addresses.split(address)[0]
    except ValueError as error:
        raise ServingError(
            "INVALID_ARGUMENT", f"{address}: no address of a server; {error}"
        ) from error


class GrpcTransport:
    """See `transports.Transport`. Safe for use from several threads."""

    def __init__(self, endpoint: Endpoint):
        self._endpoint = endpoint
        self._host = _host(endpoint.address)
        self._channel = self._connect(endpoint)
        self._predict = self._method(protocol.PREDICT, protocol.PredictResponse)
        self._metadata = self._method(
            protocol.GET_MODEL_METADATA, protocol.GetModelMetadataResponse
        )
        self._status = self._method(protocol.GET_MODEL_STATUS, protocol.GetModelStatusResponse)

    def _connect(self, endpoint: Endpoint) -> grpc.Channel:
        options = [*_OPTIONS, *proxies.grpc_options(self._host)]
        if endpoint.tls_ca is None:
            return grpc.insecure_channel(endpoint.address, options)
        try:
            certificate = pathlib.Path(endpoint.tls_ca).read_bytes()
        except OSError as error:
            raise ServingError(
                "INVALID_ARGUMENT", f"{endpoint.tls_ca}: {error.strerror}"
            ) from error
        return grpc.secure_channel(
            endpoint.address, grpc.ssl_channel_credentials(certificate), options
        )

    def _method(self, path: str, reply: Any) -> grpc.UnaryUnaryMultiCallable:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply.FromString,
        )

    def _call(self, method: grpc.UnaryUnaryMultiCallable, request: Any, timeout: float) -> Any:
        request.model_spec.name = self._endpoint.model
        # Left out, the server takes its newest version.
        if self._endpoint.version is not None:
            request.model_spec.version.value = self._endpoint.version
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            code, text = error.code().name, plain_sentence(error.details() or "")
            if code == "UNAVAILABLE":
                # gRPC puts the history of its tries in front of the one reason.
                reason = text.rpartition("last error: ")[2]
                way = proxies.on_way_of_grpc(self._host)
                text = f"no server answers at {self._endpoint.address}{way} ({reason})"
                # gRPC names HTTP/2 where a peer speaks something else, such as REST.
                if "HTTP/2" in reason:
                    text += f"; if this is the REST port, give http://{self._endpoint.address}"
            if code == "DEADLINE_EXCEEDED":
                text = f"no answer from {self._endpoint.address} in time ({text})"
            raise ServingError(code, text) from error

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: list[str], timeout: float
    ) -> dict[str, np.ndarray]:
        """See `transports.Transport`."""
        request = protocol.PredictRequest(output_filter=outputs)
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tensors.to_proto(array))
        reply = self._call(self._predict, request, timeout)
        return {name: tensors.to_array(proto) for name, proto in reply.outputs.items()}

    def signatures(self, timeout: float) -> Any:
        """See `transports.Transport`."""
        request = protocol.GetModelMetadataRequest(metadata_field=["signature_def"])
        reply = self._call(self._metadata, request, timeout)
        # It comes as an Any: a message of any type as bytes. Which type, the key says.
        return protocol.SignatureDefMap.FromString(
            reply.metadata["signature_def"].value
        ).signature_def

    def versions(self, timeout: float) -> list[VersionStatus]:
        """See `transports.Transport`."""
        reply = self._call(self._status, protocol.GetModelStatusRequest(), timeout)
        return [
            VersionStatus(v.version, protocol.state_name(v.state), v.status.error_message)
            for v in reply.model_version_status
        ]

    def close(self) -> None:
        """Ends the connection; calls that are under way end with CANCELLED."""
        self._channel.close()
