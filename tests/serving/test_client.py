"""The client's commands."""

import io
import json
import os
import resource
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from figr_common import image_grid
from serving import bench, client, remote
from serving.errors import ServingError
from tests.conftest import ROOT
from tests.serving import processes


def test_the_client_starts_in_a_second_without_tensorflow():
    code = (
        "import sys, serving.client; names = {name.partition('.')[0] for name in sys.modules};"
        "sys.exit(str(names & {'tensorflow', 'tensorflow_serving', 'keras', 'figr_tf', 'absl'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert found.stderr.strip() == "set()"
    seconds = []
    for _ in range(5):
        # Of processor time: beside a training the clock said 1.2 seconds.
        before = _of_children()
        assert processes.run_client("--help").returncode == 0
        seconds.append(_of_children() - before)
    assert min(seconds) < 1.0


def _of_children() -> float:
    """Processor time of all processes that were started here and have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("address", ["grpc", "rest"])
def test_generate_writes_the_support_framed_above_the_samples(
    server, support, image_folder, tmp_path, address
):
    target = getattr(server, address).removeprefix("http://")
    out = tmp_path / "out.png"
    rest = ["--rest"] if address == "rest" else []
    arguments = [
        "--images",
        str(image_folder),
        "--num_samples",
        "6",
        "--seed",
        "3",
        "--out",
        str(out),
    ]
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
    adapted = processes.run_client(
        "adapt", "--images", str(image_folder), "--out", str(kept), *target
    )
    assert adapted.stdout.splitlines()[:2] == ["weights: 256", f"fingerprint: {2**60 + 1}"]
    sampled = processes.run_client(
        "sample", "--adapted", str(kept), "--num_samples", "5", "--out", str(out), *target
    )
    assert sampled.returncode == 0
    assert Image.open(out).size == (5 * 36, 2 * 36)


def test_status_and_bench_print_what_they_found(server, image_folder):
    assert (
        processes.run_client("status", "--target", server.grpc).stdout
        == "versions: version 1, state AVAILABLE\n"
    )
    arguments = [
        "--images",
        str(image_folder),
        "--num_requests",
        "8",
        "--concurrency",
        "2",
        "--rate",
        "200",
    ]
    ended = processes.run_client("bench", *arguments, "--target", server.grpc, "--json")
    result = json.loads(ended.stdout)
    assert (result["requests"], result["errors"], result["differing"]) == (8, {}, 0)
    assert result["seconds"] >= 7 / 200
    assert 0 < result["p50"] <= result["p95"] <= result["p99"] <= result["max"]


FAILURES = {
    "an unknown model": (["--model", "gan"], 4, "'gan'"),
    "a refused number": (["--num_inner_steps", "300"], 3, "num_inner_steps must lie in [0, 200]."),
    "a number beyond 32 bits": (["--num_samples", str(2**40)], 3, "out of range"),
    "no such images": (["--images", "/nowhere"], 1, "/nowhere: no such folder or image"),
    "a picture of no known kind": (
        ["--out", "out.xyz"],
        1,
        "out.xyz: give it a name that ends in .png",
    ),
    "a folder that is not there": (["--out", "/nowhere/out.png"], 1, "its folder does not exist"),
    "a name that no file system takes": (["--images", "x" * 300], 1, "File name too long"),
    "half an address": (["--target", "http://[::1:8501"], 3, "no address of a server"),
    "a missing certificate": (["--tls_ca", "/nowhere"], 3, "/nowhere: No such file"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_a_line_and_an_exit_status(
    server, image_folder, failure, capsys, monkeypatch
):
    arguments, status, sentence = FAILURES[failure]
    defaults = [
        "--images",
        str(image_folder),
        "--out",
        str(image_folder / "out.png"),
        "--target",
        server.grpc,
    ]
    monkeypatch.setattr(sys, "argv", ["client", "generate", *defaults, *arguments, "--json"])
    with pytest.raises(SystemExit) as caught:
        client.main()
    assert caught.value.code == status
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert sentence in output.err
    assert json.loads(output.out)["error"] in output.err


@pytest.mark.parametrize("buffered", [True, False])
def test_output_onto_a_full_disk_is_a_failure_of_one_line(server, buffered):
    script = 'exec "$0" -m serving.client status --json --target "$1" > /dev/full'
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable, server.grpc],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "" if buffered else "1"},
        capture_output=True,
        timeout=60,
    )
    assert ended.stderr == b"error: standard output: No space left on device\n"
    assert ended.returncode == 1


def _arrays(**changed) -> bytes:
    """The bytes of a file of `adapt` in which some arrays are others."""
    arrays = {
        "support_images": np.zeros((4, 8, 8, 1), np.uint8),
        "generator_delta": np.zeros(9, np.float32),
        "fingerprint": np.int64(7),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays | changed)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\3\4 not a zip",
        b"1,2,3",
        _arrays(support_images=np.zeros((4, 8), np.uint8)),
        _arrays(generator_delta=np.array(["text"])),
        _arrays(fingerprint=np.zeros(2, np.int64)),
    ],
)
def test_a_file_that_adapt_did_not_write_is_refused(tmp_path, data, capsys, monkeypatch):
    (tmp_path / "a.npz").write_bytes(data)
    monkeypatch.setattr(sys, "argv", ["client", "sample", "--adapted", str(tmp_path / "a.npz")])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        client.main()
    assert "a.npz: not a file of `adapt`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--timeout", "0"],
        ["--timeout", "nan"],
        ["--concurrency", "0"],
        ["--seed", "x"],
        ["--version", str(2**64)],
    ],
)
def test_wrong_usage_has_status_2(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["client", "bench", "--images", "x", *arguments])
    with pytest.raises(SystemExit) as caught:
        client.main()
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_help_names_every_exit_status():
    text = processes.run_client("--help").stdout
    assert all(f"\n  {status}  " in text for status in {0, 1, 2, *client.EXIT_STATUS.values(), 8})


def _documented(module):
    """Arguments of every `python -m module …` in the README and the page on serving."""
    text = "".join((ROOT / path).read_text() for path in ("README.md", "docs/serving.md"))
    text = text.replace("\\\n", " ")  # A command may go on in the next line.
    return [
        shlex.split(line)[3:]
        for line in text.splitlines()
        if line.startswith(f"python -m {module} ")
    ]


def test_every_documented_command_is_understood():
    for arguments in _documented("serving.client"):
        client._parser().parse_args(arguments)
    command = [sys.executable, "-m", "serving.server", "--help"]
    known = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    flags = [
        flag
        for arguments in _documented("serving.server")
        for flag in arguments
        if flag.startswith("--")
    ]
    assert flags
    assert all(f"{flag}:" in known for flag in flags)


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
