"""The embedded server's own behaviour: deadlines, queue, versions, stopping."""

import concurrent.futures
import itertools
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from serving import remote
from serving.embedded.admission import Admission
from serving.embedded.servable import Servable
from serving.embedded.versions import ModelVersions, newest_version
from serving.errors import ServingError
from tests.conftest import ROOT
from tests.serving import processes, stub_model

SLOW = 1024  # size of the matrix product: some .05 s for an inner step on one core
PATIENCE = 60.0  # seconds for what takes well under one


@pytest.fixture(scope="module")
def slow_base(tmp_path_factory):
    base_path = tmp_path_factory.mktemp("slow") / "figr"
    base_path.mkdir()
    stub_model.export(base_path / "1", work=SLOW, warm_up=[stub_model.warm_up_request(num_inner_steps=1)])
    return base_path


@pytest.fixture(scope="module")
def narrow(slow_base):
    """A slow model behind one place to run and one to wait."""
    with processes.start_embedded(slow_base, "--max_running=1", "--max_queued=1") as served:
        yield served


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
    code, step_seconds = _outcome(narrow.grpc, support, 1, PATIENCE)
    assert code == "OK"
    code, seconds = _outcome(narrow.grpc, support, 200, 0.5)
    assert code == "DEADLINE_EXCEEDED"
    assert seconds < 0.5 + 1.0
    code, seconds = _outcome(narrow.grpc, support, 0, PATIENCE)  # waits for the only place
    assert code == "OK"
    assert seconds < 1.0 + 2 * step_seconds


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
        asked = [pool.submit(_outcome, getattr(narrow, address), support, 12, PATIENCE) for _ in range(3)]
        outcomes = sorted(future.result() for future in asked)
    assert [code for code, _ in outcomes] == ["OK", "OK", "RESOURCE_EXHAUSTED"]
    assert outcomes[2][1] < outcomes[0][1]


def test_status_answers_while_every_place_is_taken(narrow, support):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(_outcome, narrow.grpc, support, 200, 1.0) for _ in range(2)]
        with remote.RemoteModel(remote.Endpoint(narrow.grpc), timeout=0.9) as model:
            while not all(future.done() for future in asked):
                assert model.versions()[0].state == "AVAILABLE"


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
        _wait_for(lambda: [v.state for v in model.versions()] == ["AVAILABLE", "END"])
        stop.set()
        answers = list(itertools.chain.from_iterable(future.result() for future in asked))
        new = model.generate(support, 2)
        assert not np.array_equal(old, new)
        assert all(np.array_equal(a, old) or np.array_equal(a, new) for a in answers)
        with remote.RemoteModel(remote.Endpoint(served.grpc, version=1)) as first, pytest.raises(ServingError):
            first.generate(support, 2)


def _wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigterm_finishes_what_runs_and_takes_nothing_new(slow_base, support):
    with processes.start_embedded(slow_base) as served, concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(_outcome, served.grpc, support, 40, PATIENCE)
        _wait_for(lambda: _is_busy(served))
        served.process.send_signal(signal.SIGTERM)
        assert served.process.stdout.readline() == "stopping\n"
        assert not running.done()
        assert _outcome(served.grpc, support, 0, 5.0)[0] == "UNAVAILABLE"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{served.rest}/v1/models/figr", timeout=5)
        assert caught.value.code == 503
        assert running.result()[0] == "OK"
        assert served.process.wait(PATIENCE) == 0


def _is_busy(served):
    """Whether its process computes: a request is past the queue."""
    before = time.process_time_ns(), _cpu_seconds(served)
    time.sleep(0.1)
    return _cpu_seconds(served) - before[1] > 0.05


def _cpu_seconds(served):
    with open(f"/proc/{served.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_a_grace_period_that_is_too_short_ends_the_server_all_the_same(slow_base, support):
    with (
        processes.start_embedded(slow_base, "--grace_seconds=0.2") as served,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        running = pool.submit(_outcome, served.grpc, support, 200, PATIENCE)
        _wait_for(lambda: _is_busy(served))
        served.process.send_signal(signal.SIGTERM)
        output, _ = served.process.communicate(timeout=2)
        assert "requests were still running" in output
        assert served.process.returncode == 0
        assert running.result()[0] in ("UNAVAILABLE", "CANCELLED")


def test_a_killed_server_is_one_line_at_the_client_and_a_restarted_one_gives_the_same(stub, support, image_folder):
    port = processes.free_port()
    arguments = ["generate", "--images", str(image_folder), "--target", f"localhost:{port}"]
    with processes.start_embedded(stub, port=port) as served:
        before = _generate_when_there(served.grpc, support)
        served.process.kill()
        served.process.wait()
        failed = processes.run_client(*arguments, "--out", str(image_folder / "out.png"), "--retry_for", "0.3")
        assert failed.returncode == 5
        assert failed.stderr.startswith("error: no server answers at")
        assert failed.stderr.count("\n") == 1
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_generate_when_there, served.grpc, support)
        with processes.start_embedded(stub, port=port):
            np.testing.assert_array_equal(waiting.result(), before)


def _generate_when_there(address, support):
    with remote.RemoteModel(remote.Endpoint(address), PATIENCE, retry_for=PATIENCE) as model:
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
    command = [sys.executable, "-m", "serving.server", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=processes.START_TIMEOUT)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_refused(server, stub):
    port = server.grpc.rpartition(":")[2]
    command = [sys.executable, "-m", "serving.server", f"--model_base_path={stub}", f"--port={port}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=processes.START_TIMEOUT)
    assert ended.returncode == 1
    assert f"cannot listen at 127.0.0.1:{port}" in ended.stderr


def test_a_version_whose_warm_up_fails_is_not_loaded(tmp_path):
    path = stub_model.export(tmp_path / "3", warm_up=[stub_model.warm_up_request(num_samples=0)])
    with pytest.raises(ServingError, match="record 0 fails: num_samples must lie in"):
        Servable("figr", path)


def test_a_warm_up_file_that_is_cut_short_is_not_loaded(tmp_path):
    path = stub_model.export(tmp_path / "3", warm_up=[stub_model.warm_up_request()])
    file = path / "assets.extra/tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ServingError, match="middle of a record"):
        Servable("figr", path)


def test_a_version_with_batching_parameters_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/batching_params.pbtxt").touch()
    with pytest.raises(ServingError, match="Remove it"):
        Servable("figr", tmp_path / "1")


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(ServingError, match="SavedModel"):
        Servable("figr", tmp_path / "1")


def test_the_highest_whole_number_is_the_newest_version(tmp_path):
    for name in ("9", "10", "11.tmp", "temp-12", ".13", "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "14").touch()
    assert newest_version(tmp_path) == tmp_path / "10"
    assert newest_version(tmp_path / "none") is None


class _Fake:
    """A servable that records when it is closed."""

    def __init__(self, path):
        if path.name == "13":
            raise ServingError("INTERNAL", "broken")
        self.version = int(path.name)
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


@pytest.fixture
def fake_versions(tmp_path):
    (tmp_path / "1").mkdir()
    versions = ModelVersions(tmp_path, _Fake, poll_seconds=0.01)
    versions.start()
    yield versions
    versions.stop()


def test_the_old_version_stays_until_its_last_request_is_answered(fake_versions, tmp_path):
    with fake_versions.use(None) as old:
        (tmp_path / "2").mkdir()
        _wait_for(lambda: fake_versions.statuses()[-1].state == "UNLOADING")
        with fake_versions.use(None) as new:
            assert new.version == 2
        assert not old.closed.is_set()
    assert old.closed.wait(PATIENCE)
    _wait_for(lambda: fake_versions.statuses()[-1].state == "END")


def test_a_new_version_that_does_not_load_leaves_the_old_one_serving(fake_versions, tmp_path):
    (tmp_path / "13").mkdir()
    _wait_for(lambda: fake_versions.statuses()[0] == (13, "END", "broken"))
    with fake_versions.use(None) as servable:
        assert servable.version == 1
    (tmp_path / "14").mkdir()
    _wait_for(lambda: fake_versions.statuses()[0].state == "AVAILABLE")


def test_taking_the_newest_version_away_brings_the_one_before_back(fake_versions, tmp_path):
    (tmp_path / "2").mkdir()
    _wait_for(lambda: fake_versions.statuses()[-1].state == "END")
    (tmp_path / "2").rmdir()
    _wait_for(lambda: fake_versions.statuses()[-1].state == "AVAILABLE")


def test_the_door_counts_those_inside_and_those_that_wait():
    door = Admission(max_running=1, max_queued=0)
    with door.place(time.monotonic() + PATIENCE):
        with pytest.raises(ServingError, match="1 requests run and 0 wait"), door.place(time.monotonic() + PATIENCE):
            pass
        assert not door.wait_until_idle(0.01)
    with pytest.raises(ZeroDivisionError), door.place(time.monotonic()):
        1 / 0  # noqa: B018
    assert door.wait_until_idle(0)
    door.close()
    with pytest.raises(ServingError, match="stopping"), door.place(time.monotonic() + PATIENCE):
        pass
