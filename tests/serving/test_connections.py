"""The client towards servers that fail: fakes in this process, on our own messages."""

import concurrent.futures
import contextlib
import http.server
import itertools
import shutil
import socket
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest

from serving import protocol, remote, transports
from serving.errors import HTTP_STATUS, ServingError, code_for_http


class _FakeService(grpc.GenericRpcHandler):
    """Answers GetModelStatus with given codes, one after the other, then with version 5; counts."""

    def __init__(self, codes):
        self.codes = list(codes)
        self.asked = 0

    def service(self, details):
        if details.method == protocol.GET_MODEL_STATUS:
            return grpc.unary_unary_rpc_method_handler(self._status)
        return None

    def _status(self, _, context):
        self.asked += 1
        if self.codes:
            context.abort(self.codes.pop(0), "a reason")
        reply = protocol.GetModelStatusResponse()
        reply.model_version_status.add(version=5, state=30)
        return reply.SerializeToString()


@pytest.fixture
def closed_proxy(monkeypatch):
    """Variables for a proxy where nothing listens."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def _fake_server(*codes, credentials=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    service = _FakeService(codes)
    server.add_generic_rpc_handlers([service])
    if credentials:
        port = server.add_secure_port("localhost:0", credentials)
    else:
        port = server.add_insecure_port("localhost:0")
    server.start()
    yield f"localhost:{port}", service
    server.stop(None).wait()


def _forward(source, sink, delay):
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            time.sleep(delay)
            sink.sendall(data)


@contextlib.contextmanager
def _slow_line(address, delay):
    """The address of a relay that holds back every piece by `delay` seconds."""
    host, port = address.split(":")
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

        def relay():
            with contextlib.suppress(OSError):
                while True:
                    ends = listener.accept()[0], socket.create_connection((host, int(port)))
                    for source, sink in (ends, ends[::-1]):
                        sockets.enter_context(source)
                        pair = (source, sink, delay)
                        threading.Thread(target=_forward, args=pair, daemon=True).start()

        threading.Thread(target=relay, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _connected(address, **options):
    return remote.RemoteModel(remote.Endpoint(address), **options)


def test_unavailable_is_tried_again():
    unavailable = grpc.StatusCode.UNAVAILABLE
    with _fake_server(unavailable, unavailable) as (address, service), _connected(address) as model:
        assert model.versions()[0].version == 5
    assert service.asked == 3


def test_a_server_behind_a_slow_line_is_reached_at_the_first_try():
    with (
        _fake_server() as (address, _),
        _slow_line(address, 0.4) as slow,
        _connected(slow, retry_for=0) as model,
    ):
        assert model.versions()[0].version == 5


def test_a_server_on_loopback_is_reached_past_any_proxy(closed_proxy):
    with _fake_server() as (address, _), _connected(address, retry_for=0) as model:
        assert model.versions()[0].version == 5
    with (
        _fake_rest(200, b'{"model_version_status": []}') as address,
        _connected(address, retry_for=0) as model,
    ):
        assert model.versions() == []


@pytest.mark.parametrize("address", ["10.9.9.9:8500", "http://10.9.9.9:8501"])
def test_a_proxy_that_fails_is_named(closed_proxy, address):
    with _connected(address, retry_for=0) as model, pytest.raises(ServingError) as caught:
        model.versions()
    assert caught.value.code == "UNAVAILABLE"
    said = f"no server answers at {address} through the proxy 127.0.0.1:9 of "
    assert caught.value.message.startswith(said)


def test_the_refusal_of_a_proxy_is_not_taken_for_the_servers(closed_proxy, monkeypatch):
    with _fake_rest(407, b"<html>") as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        with (
            _connected("http://10.9.9.9:8501", retry_for=0) as model,
            pytest.raises(ServingError) as caught,
        ):
            model.versions()
    assert "HTTP 407" in caught.value.message
    assert (
        f"through the proxy {proxy.removeprefix('http://')} of http_proxy" in caught.value.message
    )


def test_http_in_front_of_the_grpc_port_is_told_from_a_server_that_is_gone():
    refused = pytest.raises(ServingError, match="if this is the gRPC port, leave http:// away")
    with (
        _fake_server() as (address, _),
        _connected(f"http://{address}", retry_for=0) as model,
        refused,
    ):
        model.versions()


def test_the_rest_port_without_http_in_front_is_told_from_a_server_that_is_gone():
    with _fake_rest(200, b"{}") as address, pytest.raises(ServingError) as caught:
        _connected(address.removeprefix("http://"), retry_for=0).versions()
    assert caught.value.message.endswith(f"if this is the REST port, give {address}")


def test_http_may_be_written_in_capitals():
    with _fake_rest(200, b'{"model_version_status": []}') as address:
        assert _connected(address.replace("http", "HTTP"), retry_for=0).versions() == []


@pytest.mark.parametrize("address", ["localhost", "::1:8500", "localhost:port"])
def test_what_is_no_address_is_refused_with_the_form(address):
    with pytest.raises(ServingError, match="give host:port, with an IPv6 address in brackets"):
        _connected(address)


def test_all_tries_share_one_deadline():
    left = []

    def fail(seconds):
        left.append(seconds)
        raise ServingError("UNAVAILABLE", "")

    with pytest.raises(ServingError):
        transports.with_retries(fail, timeout=0.5, retry_for=60.0)
    assert left[0] == pytest.approx(0.5, abs=0.05)
    assert all(later < earlier - 0.04 for earlier, later in itertools.pairwise(left))
    assert len(left) > 1


@pytest.mark.parametrize(
    "code", ["INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT", "UNKNOWN"]
)
def test_nothing_else_is_tried_again(code):
    refused = pytest.raises(ServingError)
    with (
        _fake_server(grpc.StatusCode[code]) as (address, service),
        _connected(address) as model,
        refused as caught,
    ):
        model.versions()
    assert caught.value.code == code
    assert service.asked == 1


def test_tries_end_when_the_time_for_them_is_over():
    with _fake_server(*[grpc.StatusCode.UNAVAILABLE] * 1000) as (address, service):
        start = time.monotonic()
        with _connected(address, retry_for=0.5) as model, pytest.raises(ServingError):
            model.versions()
        assert time.monotonic() - start < 5.0
    assert 2 <= service.asked <= 8


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl on PATH to make a certificate"
)
def test_a_certificate_is_checked(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with _fake_server(credentials=credentials) as (address, _):
        with remote.RemoteModel(remote.Endpoint(address, tls_ca=str(certificate))) as model:
            assert model.versions()[0].version == 5
        with (
            remote.RemoteModel(remote.Endpoint(address), retry_for=0) as model,
            pytest.raises(ServingError),
        ):
            model.versions()


class _FakeRest(http.server.BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def _fake_rest(status, body):
    handler = type("Handler", (_FakeRest,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>", "INTERNAL"),
        (200, b"{}", "INTERNAL"),
        (200, b'{"model_version_status": [{"version": "x"}]}', "INTERNAL"),
        (503, b"", "UNAVAILABLE"),
        (502, b"<html>", "UNKNOWN"),
        (429, b'{"error": "full"}', "RESOURCE_EXHAUSTED"),
        (404, b'{"error": ["no", "text"]}', "NOT_FOUND"),
    ],
)
def test_whatever_stands_behind_a_rest_port_ends_in_a_serving_error(status, body, code):
    with _fake_rest(status, body) as address, pytest.raises(ServingError) as caught:
        _connected(address, retry_for=0).versions()
    assert caught.value.code == code
    assert caught.value.message


def test_http_numbers_lead_back_to_the_most_general_code():
    assert code_for_http(400) == "INVALID_ARGUMENT"
    assert code_for_http(409) == "ALREADY_EXISTS"
    assert all(HTTP_STATUS[code_for_http(number)] == number for number in HTTP_STATUS.values())


def test_support_images_of_another_form_are_refused_before_anything_is_sent():
    refused = pytest.raises(ServingError, match=r"Received: float32 \[1, 4, 4, 1\]")
    with _connected("localhost:1", retry_for=0) as model, refused:
        model.generate(np.zeros((1, 4, 4, 1), np.float32))
