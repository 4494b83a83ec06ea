"""TensorFlow Serving's REST paths: predict with columnar inputs, status, metadata."""

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from figr_common import addresses
from serving.embedded import rest_tensors
from serving.embedded.core import Core
from serving.errors import HTTP_STATUS, ServingError

# 18 digits always fit into the int64 of the protocol.
_PATH = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d{1,18}))?"
    r"(?P<method>:predict|/metadata)?"
)
# The default limits of an export let a request have 64 files of 1 MiB, which is more in base64:
# those are for gRPC.
_MAX_BODY_BYTES = 64 * 2**20
_SOCKET_TIMEOUT = 30.0  # Seconds that a silent connection may hold a thread.


class _Handler(http.server.BaseHTTPRequestHandler):
    # Connections stay open from one request to the next.
    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_TIMEOUT
    server: "_Server"
    core: Core

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, *_: Any) -> None:
        """No line for every request."""

    def _answer(self, verb: str) -> None:
        with self.server.answering():
            self._answer_one(verb)

    def _answer_one(self, verb: str) -> None:
        try:
            status, reply = 200, self._reply(verb, self._body())
        except ServingError as error:
            status, reply = HTTP_STATUS.get(error.code, 500), {"error": error.message}
        data = json.dumps(reply).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except ConnectionError:  # Who asked has gone.
            self.close_connection = True

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        # Python refuses to read numbers of thousands of digits.
        too_long = not length.isdecimal() or len(length) > 18 or int(length) > _MAX_BODY_BYTES
        if too_long or "Transfer-Encoding" in self.headers:
            # An unread body would be taken for the next request on this connection.
            self.close_connection = True
            raise ServingError(
                "INVALID_ARGUMENT",
                f"send Content-Length, at most {_MAX_BODY_BYTES}. Received: {length[:40]}",
            )
        return self.rfile.read(int(length))

    def _reply(self, verb: str, body: bytes) -> dict:
        match = _PATH.fullmatch(self.path)
        if not match or verb != ("POST" if match["method"] == ":predict" else "GET"):
            raise ServingError("INVALID_ARGUMENT", f"Malformed request: {verb} {self.path[:200]}")
        spec = model_pb2.ModelSpec(name=match["model"])
        if match["version"]:
            spec.version.value = int(match["version"])
        if match["method"] == ":predict":
            return self._predict(spec, body)
        if match["method"] == "/metadata":
            return self._metadata(spec)
        statuses = self.core.statuses(spec)
        return {"model_version_status": [_status_json(status) for status in statuses]}

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> dict:
        _, signatures = self.core.signatures(spec)
        request = rest_tensors.request_from_json(body, signatures)
        # The body has the signature, the path has model and version.
        request.model_spec.MergeFrom(spec)
        return rest_tensors.reply_to_json(self.core.answer(request, None))

    def _metadata(self, spec: model_pb2.ModelSpec) -> dict:
        version, signatures = self.core.signatures(spec)
        signature_map = get_model_metadata_pb2.SignatureDefMap(signature_def=signatures)
        as_json = json_format.MessageToDict(signature_map, preserving_proto_field_name=True)
        return {
            "model_spec": {"name": spec.name, "signature_name": "", "version": str(version)},
            "metadata": {"signature_def": as_json},
        }


def _status_json(status) -> dict:
    error = {"error_code": "UNKNOWN" if status.error else "OK", "error_message": status.error}
    return {"version": str(status.version), "state": status.state, "status": error}


class _Server(http.server.ThreadingHTTPServer):
    # A connection that is kept open must not keep the process alive.
    daemon_threads = True
    # Python's 5 would turn connections away when many come at once.
    request_queue_size = 64

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._changed = threading.Condition()
        self._answering = 0

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Around a request, until the last byte of its answer has left."""
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                self._changed.notify_all()

    def wait_until_idle(self, seconds: float) -> bool:
        """Whether no answer is on its way any more, at the latest after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._answering == 0, seconds)


def start(core: Core, host: str, port: int) -> _Server:
    """Serves in a thread of its own.

    Args:
        port: 0 takes a free one; the answer's `server_port` tells which.

    Raises:
        ServingError: the port is taken, or the host is no address of this machine.
    """
    # http.server makes a handler for each connection and passes it nothing but the server.
    handler = type("Handler", (_Handler,), {"core": core})
    try:
        kind = type("Server", (_Server,), {"address_family": addresses.family(host)})
        server = kind((host, port), handler)
    except OSError as error:
        text = f"cannot listen at {addresses.join(host, port)}: {error.strerror}"
        raise ServingError("UNAVAILABLE", text) from error
    threading.Thread(target=server.serve_forever, name="rest", daemon=True).start()
    return server
