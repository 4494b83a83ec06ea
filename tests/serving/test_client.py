"""The client's commands, and its behaviour towards servers that fail: fakes in this process, on our own messages."""

import concurrent.futures
import contextlib
import http.server
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
from PIL import Image

from figr_images import image_grid
from serving import bench, client, protocol, remote, transports
from serving.errors import HTTP_STATUS, ServingError, code_for_http
from tests.conftest import ROOT
from tests.serving import processes


def test_the_client_starts_in_a_second_without_tensorflow():
    code = (
        "import sys, serving.client; names = {name.partition('.')[0] for name in sys.modules};"
        "sys.exit(str(names & {'tensorflow', 'tensorflow_serving', 'keras', 'figr_tf', 'absl'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.stderr.strip() == "set()"
    seconds = []
    for _ in range(5):  # the quickest, since other processes may hold the cores
        start = time.perf_counter()
        assert processes.run_client("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0


@pytest.mark.parametrize("address", ["grpc", "rest"])
def test_generate_writes_the_support_framed_above_the_samples(server, support, image_folder, tmp_path, address):
    target = getattr(server, address).removeprefix("http://")
    out = tmp_path / "out.png"
    rest = ["--rest"] if address == "rest" else []
    arguments = ["--images", str(image_folder), "--num_samples", "6", "--seed", "3", "--out", str(out)]
    ended = processes.run_client("generate", *arguments, "--target", target, "--json", *rest)
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == {"samples": 6, "support_images": 4, "out": str(out)}
    with remote.RemoteModel(remote.Endpoint(server.grpc)) as model:
        read = model.read_support(image_folder)
        np.testing.assert_array_equal(read[0], support[0])
        expected = image_grid.result_picture(read, model.generate(read, 6, 3))
    np.testing.assert_array_equal(np.asarray(Image.open(out)), np.asarray(expected))


def test_an_adapted_generator_is_kept_in_a_file_and_sampled_later(server, image_folder, tmp_path):
    kept, out = tmp_path / "kept.npz", tmp_path / "out.png"
    target = ["--target", server.grpc]
    adapted = processes.run_client("adapt", "--images", str(image_folder), "--out", str(kept), *target)
    assert adapted.stdout.splitlines()[:2] == ["weights: 256", f"fingerprint: {2**60 + 1}"]
    sampled = processes.run_client("sample", "--adapted", str(kept), "--num_samples", "5", "--out", str(out), *target)
    assert sampled.returncode == 0
    assert Image.open(out).size == (5 * 36, 2 * 36)


def test_status_and_bench_print_what_they_found(server, image_folder):
    assert processes.run_client("status", "--target", server.grpc).stdout == "versions: version 1, state AVAILABLE\n"
    arguments = ["--images", str(image_folder), "--num_requests", "8", "--concurrency", "2", "--rate", "200"]
    ended = processes.run_client("bench", *arguments, "--target", server.grpc, "--json")
    result = json.loads(ended.stdout)
    assert (result["requests"], result["errors"], result["differing"]) == (8, {}, 0)
    assert result["seconds"] >= 7 / 200
    assert 0 < result["p50"] <= result["p95"] <= result["p99"] <= result["max"]


FAILURES = {
    "an unknown model": (["--model", "gan"], 4, "'gan'"),
    "a refused number": (["--num_inner_steps", "300"], 3, "num_inner_steps must lie in [0, 200]."),
    "a number beyond 32 bits": (["--num_samples", str(2**40)], 3, "out of range"),
    "too little time": (["--timeout", "0.001"], 6, "in time"),
    "no such images": (["--images", "/nowhere"], 1, "/nowhere: no such folder or image"),
    "a picture of no known kind": (["--out", "out.xyz"], 1, "out.xyz: give it a name that ends in .png"),
    "a folder that is not there": (["--out", "/nowhere/out.png"], 1, "its folder does not exist"),
    "a missing certificate": (["--tls_ca", "/nowhere"], 3, "/nowhere: No such file"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_a_line_and_an_exit_status(server, image_folder, failure, capsys, monkeypatch):
    arguments, status, sentence = FAILURES[failure]
    defaults = ["--images", str(image_folder), "--out", str(image_folder / "out.png"), "--target", server.grpc]
    monkeypatch.setattr(sys, "argv", ["client", "generate", *defaults, *arguments, "--json"])
    with pytest.raises(SystemExit) as caught:
        client.main()
    assert caught.value.code == status
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert sentence in output.err
    assert json.loads(output.out)["error"] in output.err


@pytest.mark.parametrize("data", [b"", b"PK\3\4 not a zip", b"1,2,3"])
def test_a_file_that_adapt_did_not_write_is_refused(tmp_path, data, capsys, monkeypatch):
    (tmp_path / "a.npz").write_bytes(data)
    monkeypatch.setattr(sys, "argv", ["client", "sample", "--adapted", str(tmp_path / "a.npz")])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        client.main()
    assert "a.npz: not a file of `adapt`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--timeout", "0"], ["--timeout", "nan"], ["--concurrency", "0"], ["--seed", "x"]]
)
def test_wrong_usage_has_status_2(arguments):
    assert processes.run_client("bench", "--images", "x", *arguments).returncode == 2


def test_the_help_names_every_exit_status():
    text = processes.run_client("--help").stdout
    assert all(f"\n  {status}  " in text for status in {0, 1, 2, *client.EXIT_STATUS.values(), 8})


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


def _connected(address, **options):
    return remote.RemoteModel(remote.Endpoint(address), **options)


def test_unavailable_is_tried_again():
    unavailable = grpc.StatusCode.UNAVAILABLE
    with _fake_server(unavailable, unavailable) as (address, service), _connected(address) as model:
        assert model.versions()[0].version == 5
    assert service.asked == 3


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


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INVALID_ARGUMENT", "UNKNOWN"])
def test_nothing_else_is_tried_again(code):
    refused = pytest.raises(ServingError)
    with _fake_server(grpc.StatusCode[code]) as (address, service), _connected(address) as model, refused as caught:
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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH to make a certificate")
def test_a_certificate_is_checked(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with _fake_server(credentials=credentials) as (address, _):
        with remote.RemoteModel(remote.Endpoint(address, tls_ca=str(certificate))) as model:
            assert model.versions()[0].version == 5
        with remote.RemoteModel(remote.Endpoint(address), retry_for=0) as model, pytest.raises(ServingError):
            model.versions()


class _FakeRest(http.server.BaseHTTPRequestHandler):
    status, body = 200, b""

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"<html>", "INTERNAL"),
        (503, b"", "UNAVAILABLE"),
        (502, b"<html>", "UNKNOWN"),
        (429, b'{"error": "full"}', "RESOURCE_EXHAUSTED"),
        (404, b'{"error": ["no", "text"]}', "NOT_FOUND"),
    ],
)
def test_whatever_stands_behind_a_rest_port_ends_in_a_serving_error(status, body, code):
    handler = type("Handler", (_FakeRest,), {"status": status, "body": body})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        endpoint = remote.Endpoint(f"http://127.0.0.1:{server.server_port}")
        with remote.RemoteModel(endpoint, retry_for=0) as model, pytest.raises(ServingError) as caught:
            model.versions()
        server.shutdown()
        thread.join()
    assert caught.value.code == code
    assert caught.value.message


def test_http_numbers_lead_back_to_the_most_general_code():
    assert code_for_http(400) == "INVALID_ARGUMENT"
    assert code_for_http(409) == "ALREADY_EXISTS"
    assert all(HTTP_STATUS[code_for_http(number)] == number for number in HTTP_STATUS.values())


class _OneDiffers:
    """A model whose third answer is another one and whose fourth is an error."""

    def __init__(self):
        self.asked = 0

    def generate(self, support_images, num_samples, seed, num_inner_steps):
        self.asked += 1
        if self.asked == 4:
            raise ServingError("RESOURCE_EXHAUSTED", "full")
        return np.full((2, 4, 4, 1), self.asked == 3)


def test_bench_counts_errors_and_answers_that_differ():
    result = bench.run(_OneDiffers(), np.zeros((1, 4, 4, 1), np.uint8), bench.Load(num_requests=5))
    assert result["errors"] == {"RESOURCE_EXHAUSTED": 1}
    assert result["differing"] == 1
    assert result["requests"] == 5


def test_support_images_of_another_form_are_refused_before_anything_is_sent():
    refused = pytest.raises(ServingError, match=r"Received: float32 \[1, 4, 4, 1\]")
    with _connected("localhost:1", retry_for=0) as model, refused:
        model.generate(np.zeros((1, 4, 4, 1), np.float32))
