"""REST bodies and paths that no client of ours sends, at either server."""

import concurrent.futures
import http.client
import json
import socket
import struct
import threading
import time
import types
import urllib.error
import urllib.request

import pytest

from serving.embedded import rest_front
from tests.serving import processes

GOOD = {"image_bytes": [{"b64": ""}], "num_samples": 2, "num_inner_steps": 1, "seed": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[]",
        b'{"inputs": 3}',
        json.dumps({"inputs": {"image_bytes": [{"b64": ""}]}}).encode(),
        json.dumps({"inputs": GOOD | {"num_samples": 2.5}}).encode(),
        json.dumps({"inputs": GOOD | {"num_samples": 2**40}}).encode(),
        json.dumps({"inputs": GOOD | {"seed": 2**70}}).encode(),
        json.dumps({"inputs": GOOD | {"seed": [[1], [2, 3]]}}).encode(),
        json.dumps({"inputs": GOOD | {"seed": None}}).encode(),
        json.dumps({"inputs": GOOD | {"image_bytes": [{"b64": "?"}]}}).encode(),
        json.dumps({"inputs": GOOD, "signature_name": "classify"}).encode(),
    ],
    ids=lambda body: body[:60].decode(),
)
def test_a_bad_json_body_is_answered_with_400_and_a_sentence(server, body):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.rest}/v1/models/figr:predict", body, timeout=10)
    assert caught.value.code == 400
    assert json.load(caught.value)["error"]


@pytest.mark.parametrize(
    ("verb", "path"), [("GET", "/v1/models/figr:predict"), ("GET", "/v1"), ("POST", "/")]
)
def test_an_unknown_path_is_refused(server, verb, path):
    connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=10)
    connection.request(verb, path, b"{}" if verb == "POST" else None)
    assert connection.getresponse().status in (400, 404, 405)
    connection.close()


def test_a_length_of_thousands_of_digits_is_refused(server):
    connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/v1/models/figr:predict")
    connection.putheader("Content-Length", "1" * 5_000)
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_who_goes_away_before_the_answer_leaves_no_traceback(monkeypatch, capfd):
    core = types.SimpleNamespace(statuses=lambda spec: time.sleep(0.3) or [])
    gone = []

    class Handler(rest_front._Handler):
        def finish(self):
            super().finish()
            gone.append(True)

    monkeypatch.setattr(rest_front, "_Handler", Handler)
    server = rest_front.start(core, "127.0.0.1", 0)
    try:
        caller = socket.create_connection(("127.0.0.1", server.server_port))
        caller.sendall(b"GET /v1/models/figr HTTP/1.1\r\nHost: x\r\n\r\n")
        # With a reset, as of a process that was killed with an answer unread.
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()
        processes.wait_for(lambda: gone)
    finally:
        server.shutdown()
        server.server_close()
    assert "Traceback" not in capfd.readouterr().err


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine")
def test_rest_is_served_at_an_ipv6_address():
    front = rest_front.start(None, "::1", 0)  # No model is needed to refuse a path.
    connection = http.client.HTTPConnection("::1", front.server_port, timeout=10)
    connection.request("GET", "/v1")
    assert connection.getresponse().status == 400
    connection.close()
    front.shutdown()
    front.server_close()


def test_it_is_known_whether_an_answer_is_still_leaving():
    asked, answer = threading.Event(), threading.Event()

    def statuses(_):
        asked.set()
        answer.wait(processes.PATIENCE)
        return []

    rest = rest_front.start(types.SimpleNamespace(statuses=statuses), "127.0.0.1", 0)
    assert rest.wait_until_idle(0)
    url = f"http://127.0.0.1:{rest.server_port}/v1/models/figr"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        reply = pool.submit(lambda: urllib.request.urlopen(url, timeout=10).read())
        assert asked.wait(processes.PATIENCE)
        assert not rest.wait_until_idle(0.01)
        answer.set()
        assert rest.wait_until_idle(processes.PATIENCE)
        assert json.loads(reply.result()) == {"model_version_status": []}
    rest.shutdown()
    rest.server_close()
