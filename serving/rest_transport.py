"""The model over TensorFlow Serving's REST interface, for where gRPC does not get through."""

import base64
import contextlib
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf import json_format

from figr_common import proxies
from serving import protocol, tensors
from serving.errors import ServingError, code_for_http, plain_sentence
from serving.transports import MAX_MESSAGE_BYTES, Endpoint, VersionStatus

# What taking apart an answer in JSON of another form raises.
_OTHER_ANSWERS = (LookupError, TypeError, ValueError, AttributeError, json_format.ParseError)


def _to_json(array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    return [{"b64": base64.b64encode(value).decode()} for value in array.tolist()]


def _from_json(value: Any) -> np.ndarray:
    """A list of {"b64": …} objects → byte strings; numbers → a number array."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return tensors.byte_strings([base64.b64decode(item["b64"]) for item in value])
    return np.asarray(value)


class RestTransport:
    """See `transports.Transport`. Signatures' defaults are filled in here: REST ignores them."""

    def __init__(self, endpoint: Endpoint):
        version = "" if endpoint.version is None else f"/versions/{endpoint.version}"
        self._address = endpoint.address.rstrip("/")
        model = urllib.parse.quote(endpoint.model, safe="")
        self._url = f"{self._address}/v1/models/{model}{version}"
        try:
            self._opener = proxies.opener(self._address)
        except ValueError as error:
            raise ServingError(
                "INVALID_ARGUMENT", f"{self._address}: no address of a server; {error}"
            ) from error
        # The newest version may be another one at the next call.
        self._may_change = endpoint.version is None
        self._signatures: Any = None

    def _call(self, path: str, body: dict | None, timeout: float) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=timeout) as reply:
                # No more than that, whatever it is that answers.
                return json.loads(reply.read(MAX_MESSAGE_BYTES))
        # First, since an HTTPError is an OSError too.
        except urllib.error.HTTPError as error:
            raise ServingError(code_for_http(error.code), self._error_text(error)) from error
        # While the answer is read. While the connection is made, urllib wraps it, see below.
        except TimeoutError as error:
            raise ServingError(
                "DEADLINE_EXCEEDED", f"no answer from {self._address} in time"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise ServingError(
                    "DEADLINE_EXCEEDED", f"no answer from {self._address} in time"
                ) from error
            way = proxies.on_way_of_url(self._address)
            text = f"no server answers at {self._address}{way} ({reason})"
            # gRPC answers with a frame of HTTP/2, which is no status line.
            if isinstance(error, http.client.BadStatusLine):
                text = (
                    f"{self._address} does not speak HTTP; if this is the gRPC port, leave http://"
                    " away"
                )
            raise ServingError("UNAVAILABLE", text) from error
        # What json.loads raises.
        except ValueError as error:
            raise ServingError(
                "INTERNAL", f"{self._address} did not answer in JSON; is it the REST port?"
            ) from error

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: list[str], timeout: float
    ) -> dict[str, np.ndarray]:
        """See `transports.Transport`."""
        end = time.monotonic() + timeout
        # REST fills in no default and gives a single output no name; the signatures know both.
        if self._may_change or self._signatures is None:
            self._signatures = self.signatures(timeout)
        definition = self._signatures.get(signature)
        if definition is None:
            raise ServingError("FAILED_PRECONDITION", f"the model has no signature {signature!r}")
        defaults = {name: tensors.to_array(proto) for name, proto in definition.defaults.items()}
        body = {
            "signature_name": signature,
            "inputs": {name: _to_json(array) for name, array in (defaults | inputs).items()},
        }
        reply = self._call(":predict", body, max(end - time.monotonic(), 1e-6))
        with self._understood():
            replies = reply["outputs"]
            # A single output stands there without its name.
            if len(definition.outputs) == 1:
                replies = {next(iter(definition.outputs)): replies}
            return {name: _from_json(replies[name]) for name in outputs}

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Around what takes an answer apart: anything may answer in JSON."""
        try:
            yield
        except _OTHER_ANSWERS as error:
            raise ServingError(
                "INTERNAL", f"{self._address} answers otherwise than TensorFlow Serving does"
            ) from error

    def signatures(self, timeout: float) -> Any:
        """See `transports.Transport`."""
        reply = self._call("/metadata", None, timeout)
        message = protocol.SignatureDefMap()
        with self._understood():
            json_format.ParseDict(
                reply["metadata"]["signature_def"], message, ignore_unknown_fields=True
            )
        return message.signature_def

    def versions(self, timeout: float) -> list[VersionStatus]:
        """See `transports.Transport`."""
        reply = self._call("", None, timeout)
        with self._understood():
            return [
                VersionStatus(
                    int(v["version"]), v["state"], v.get("status", {}).get("error_message", "")
                )
                for v in reply["model_version_status"]
            ]

    def close(self) -> None:
        """Nothing to do: every call has a connection of its own."""

    def _error_text(self, error: urllib.error.HTTPError) -> str:
        try:
            body = json.loads(error.read(MAX_MESSAGE_BYTES))
            return plain_sentence(str(body["error"]))
        # Not an answer of the server, but of one before it.
        except (ValueError, KeyError, TypeError, OSError):
            way = proxies.on_way_of_url(self._address)
            return f"HTTP {error.code} {error.reason} from {self._address}{way}"
