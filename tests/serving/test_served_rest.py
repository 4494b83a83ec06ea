"""REST bodies and paths that no client of ours sends, at either server."""

import http.client
import json
import urllib.error
import urllib.request

import pytest

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
