"""The embedded server's own behaviour: deadlines, queue, versions, stopping."""

import concurrent.futures
import itertools
import json
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from serving import client, remote
from serving.errors import ServingError
from tests import commands
from tests.serving import processes, stub_model

SLOW = 1024  # size of the matrix product: some .05 s for an inner step on one core


@pytest.fixture(scope="module")
def slow_base(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("slow") / "figr"
    base_path.mkdir()
    stub_model.export(
        base_path / "1", work=SLOW, warm_up=[stub_model.warm_up_request(num_inner_steps=1)]
    )
    return base_path


@pytest.fixture(scope="module")
def narrow_server(slow_base):
    with processes.start_embedded(slow_base, "--max_running=1", "--max_queued=1") as served:
        yield served


@pytest.fixture
def narrow(narrow_server, support):
    """A slow model behind one place to run and one to wait, both free: requests of earlier tests
    have been stopped.
    """
    assert _outcome(narrow_server.grpc, support, 0, processes.PATIENCE)[0] == "OK"
    return narrow_server


def _outcome(address, support, steps, timeout):
    """("OK" or the error's code, seconds it took)."""
    start = time.monotonic()
    with remote.RemoteModel(remote.Endpoint(address), timeout, retry_for=0) as model:
        try:
            model.generate(support, 1, num_inner_steps=steps)
            code = "OK"
        except ServingError as error:
            code = error.code
    return code, time.monotonic() - start


def test_a_request_is_stopped_at_its_deadline_and_frees_its_place(narrow, support):
    code, step_seconds = _outcome(narrow.grpc, support, 1, processes.PATIENCE)
    assert code == "OK"
    code, seconds = _outcome(narrow.grpc, support, 200, 0.5)
    assert code == "DEADLINE_EXCEEDED"
    assert seconds < 0.5 + 1.0
    code, seconds = _outcome(
        narrow.grpc, support, 0, processes.PATIENCE
    )  # waits for the only place
    assert code == "OK"
    assert seconds < 1.0 + 2 * step_seconds


def test_the_client_command_says_that_the_answer_did_not_come_in_time(
    narrow, image_folder, capsys, monkeypatch
):
    # Of the slow model: the quick one may answer before the shortest of timers has rung.
    arguments = ["--images", str(image_folder), "--num_inner_steps", "200", "--timeout", "0.05"]
    monkeypatch.setattr(
        sys, "argv", ["client", "generate", *arguments, "--target", narrow.grpc, "--json"]
    )
    with pytest.raises(SystemExit, match="6"):
        client.main()
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert "in time" in output.err
    assert json.loads(output.out)["error"] in output.err


def test_a_rest_request_has_no_deadline_but_the_servers(slow_base, support):
    with processes.start_embedded(slow_base, "--max_seconds=0.5") as served:
        code, seconds = _outcome(served.rest, support, 200, processes.PATIENCE)
    assert code == "DEADLINE_EXCEEDED"
    assert seconds < 0.5 + 1.0


def test_a_deadline_counts_while_a_request_waits(narrow, support):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(_outcome, narrow.grpc, support, 200, 1.5)
        code, seconds = _outcome(narrow.grpc, support, 200, 0.3)
        assert code == "DEADLINE_EXCEEDED"
        assert seconds < 1.0
        assert first.result()[0] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("address", ["grpc", "rest"])
def test_one_request_too_many_is_turned_away_at_once(narrow, support, address):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(_outcome, getattr(narrow, address), support, 12, processes.PATIENCE)
            for _ in range(3)
        ]
        outcomes = sorted(future.result() for future in asked)
    assert [code for code, _ in outcomes] == ["OK", "OK", "RESOURCE_EXHAUSTED"]
    assert outcomes[2][1] < outcomes[0][1]


def test_status_answers_while_every_place_is_taken(narrow, support):
    with (
        concurrent.futures.ThreadPoolExecutor(2) as pool,
        remote.RemoteModel(remote.Endpoint(narrow.grpc), timeout=0.9) as model,
    ):
        model.versions()  # So that the connection is there.
        asked = [pool.submit(_outcome, narrow.grpc, support, 200, 1.0) for _ in range(2)]
        answers = 0
        while not all(future.done() for future in asked):
            assert model.versions()[0].state == "AVAILABLE"
            answers += 1
    assert answers
    assert {future.result()[0] for future in asked} == {"DEADLINE_EXCEEDED"}


def _ask_until(stop, address, support):
    """Samples of one request after another until told to stop."""
    answers = []
    with remote.RemoteModel(remote.Endpoint(address), retry_for=0) as model:
        while not stop.is_set():
            answers.append(model.generate(support, 2))
    return answers


def test_a_new_version_takes_over_under_load_without_a_failed_request(tmp_path, support):
    base_path = tmp_path / "figr"
    base_path.mkdir()
    stub_model.export(base_path / "1")
    next_version = stub_model.export(tmp_path / "2", bias=0.1)
    stop = threading.Event()
    with (
        processes.start_embedded(base_path, "--poll_seconds=0.05") as served,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
        remote.RemoteModel(remote.Endpoint(served.rest)) as model,
    ):
        old = model.generate(support, 2)
        asked = [pool.submit(_ask_until, stop, served.grpc, support) for _ in range(4)]
        next_version.rename(base_path / "2")
        processes.wait_for(lambda: [v.state for v in model.versions()] == ["AVAILABLE", "END"])
        stop.set()
        answers = list(itertools.chain.from_iterable(future.result() for future in asked))
        new = model.generate(support, 2)
        assert not np.array_equal(old, new)
        assert all(np.array_equal(a, old) or np.array_equal(a, new) for a in answers)
        with (
            remote.RemoteModel(remote.Endpoint(served.grpc, version=1)) as first,
            pytest.raises(ServingError),
        ):
            first.generate(support, 2)


def test_sigterm_finishes_what_runs_and_takes_nothing_new(slow_base, support):
    with (
        processes.start_embedded(slow_base) as served,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        before = _cpu_seconds(served)
        running = pool.submit(_outcome, served.grpc, support, 40, processes.PATIENCE)
        _wait_until_busy(served, before)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.stdout.readline() == "stopping\n"
        assert not running.done()
        assert _outcome(served.grpc, support, 0, 5.0)[0] == "UNAVAILABLE"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{served.rest}/v1/models/figr", timeout=5)
        assert caught.value.code == 503
        assert running.result()[0] == "OK"
        assert served.process.wait(processes.PATIENCE) == 0


def _wait_until_busy(served, before):
    """Until its process has computed for a while: a request is past the queue."""
    processes.wait_for(lambda: _cpu_seconds(served) - before > 0.1)


def _cpu_seconds(served):
    with open(f"/proc/{served.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_grace_period_that_is_too_short_ends_the_server_all_the_same(slow_base, support):
    with (
        processes.start_embedded(slow_base, "--grace_seconds=0.2") as served,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        before = _cpu_seconds(served)
        running = pool.submit(_outcome, served.grpc, support, 200, processes.PATIENCE)
        _wait_until_busy(served, before)
        served.process.send_signal(signal.SIGTERM)
        output, _ = served.process.communicate(timeout=2)
        assert "requests were still running" in output
        assert served.process.returncode == 0
        assert running.result()[0] in ("UNAVAILABLE", "CANCELLED")


def test_a_killed_server_is_one_line_at_the_client_and_a_restarted_one_gives_the_same(
    stub, support, image_folder
):
    port = processes.free_port()
    arguments = ["generate", "--images", str(image_folder), "--target", f"localhost:{port}"]
    with processes.start_embedded(stub, port=port) as served:
        before = _generate_when_there(served.grpc, support)
        served.process.kill()
        served.process.wait()
        failed = processes.run_client(
            *arguments, "--out", str(image_folder / "out.png"), "--retry_for", "0.3"
        )
        assert failed.returncode == 5
        assert failed.stderr.startswith("error: no server answers at")
        assert failed.stderr.count("\n") == 1
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_generate_when_there, served.grpc, support)
        with processes.start_embedded(stub, port=port):
            np.testing.assert_array_equal(waiting.result(), before)


def _generate_when_there(address, support):
    with remote.RemoteModel(
        remote.Endpoint(address), processes.PATIENCE, retry_for=processes.PATIENCE
    ) as model:
        return model.generate(support, 4, seed=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model_base_path=/nowhere"], "/nowhere: no version folder"),
        (["--model_base_path=/nowhere", "--enable_batching"], "would become one adaptation"),
        (["--model_base_path=/nowhere", "stray"], "unexpected argument"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(arguments, sentence):
    ended = commands.run("serving.server", *arguments)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_refused(server, stub):
    port = server.grpc.rpartition(":")[2]
    ended = commands.run("serving.server", f"--model_base_path={stub}", f"--port={port}")
    assert ended.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}" in ended.stderr
