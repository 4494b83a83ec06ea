"""python -m figr_tf.launch: the workers of one host, as its children."""

import contextlib
import signal
import subprocess
import sys

import psutil
import pytest

from figr_tf import launch
from tests.conftest import ROOT
from tests.e2e.worker_processes import DEADLINE, ENVIRONMENT, TINY

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def _launched(*flags: str):
    """A launcher of two workers; when the context ends, none of them may be left."""
    launcher = subprocess.Popen(
        [sys.executable, "-m", "figr_tf.launch", "--workers=2", "--", *TINY, *flags],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children: list[psutil.Process] = []
    try:
        yield launcher, children
        assert not [child for child in children if child.is_running()]
    finally:
        for process in (*children, launcher):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        launcher.communicate()


def _wait_for_line(launcher: subprocess.Popen, children: list, start: str) -> None:
    line = next((line for line in launcher.stdout if line.startswith(start)), None)
    assert line, launcher.stderr.read()
    children += psutil.Process(launcher.pid).children()
    assert len(children) == 2


@pytest.mark.slow
def test_one_killed_worker_ends_all_and_gives_the_launcher_its_status(tmp_path):
    with _launched(f"--run={tmp_path / 'run'}") as (launcher, children):
        _wait_for_line(launcher, children, "[worker 0] run folder")
        (second,) = (child for child in children if '"index": 1' in child.environ()["TF_CONFIG"])
        second.kill()
        _, error = launcher.communicate(timeout=DEADLINE)
    assert launcher.returncode == 128 + signal.SIGKILL
    assert "[worker 0] error: worker 1 (127.0.0.1:" in error


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_go_to_all_workers_which_save(number, tmp_path):
    with _launched(f"--run={tmp_path / 'run'}", "--checkpoint_every=1000000") as (
        launcher,
        children,
    ):
        _wait_for_line(launcher, children, "[worker 0] meta-step 2/")
        launcher.send_signal(number)
        output, error = launcher.communicate(timeout=DEADLINE)
    assert launcher.returncode == 128 + number, error
    assert f"[worker 0] stopped by {number.name} at meta-step" in output
    assert len(list((tmp_path / "run/checkpoints").glob("ckpt-*.index"))) == 1


@pytest.mark.slow
def test_an_error_of_all_workers_is_shown_for_each_and_passed_on(tmp_path):
    with _launched(f"--run={tmp_path / 'run'}", "--meta_batch_size=3") as (launcher, _):
        _, error = launcher.communicate(timeout=DEADLINE)
    assert launcher.returncode == 1
    for index in range(2):
        assert f"[worker {index}] error: " in error
    assert "--meta_batch_size=3 is not a multiple of the 2 replicas" in error


def test_a_worker_that_neither_fails_nor_ends_is_killed_in_the_end(monkeypatch):
    """The first of the two, so that it hides the second's failure from whoever looks in turn."""
    monkeypatch.setattr(launch, "_GRACE", 0.2)
    monkeypatch.setattr(launch, "_LAST_GRACE", 0.2)
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    assert stubborn.stdout.readline() == "here\n"
    failing = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    assert launch._wait([stubborn, failing]) == 3
    assert stubborn.returncode == -signal.SIGKILL
    stubborn.communicate()


def test_the_cause_of_an_end_counts_and_not_its_consequence():
    workers = [
        subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])
        for status in (75, 4)
    ]
    for worker in workers:
        worker.wait()
    assert launch._wait(workers) == 4


@pytest.mark.parametrize(
    ("visible", "shares"),
    [
        *((hidden, [hidden, hidden]) for hidden in ("", "-1", "NoDevFiles", "none", "-1,0,1")),
        ("0,1,2,3", ["0,2", "1,3"]),
        (" 3, 1", ["3", "1"]),
        ("0,1,-1,2", ["0", "1"]),  # CUDA reads as far as the first name of no device.
        ("GPU-8f2a,MIG-13be", ["GPU-8f2a", "MIG-13be"]),
    ],
)
def test_gpus_are_shared_out_and_names_that_hide_all_of_them_are_left(visible, shares):
    each = launch.environments(2, [1, 2], {"CUDA_VISIBLE_DEVICES": visible})
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in each] == shares


def test_gpus_that_cannot_be_shared_evenly_are_one_line():
    with pytest.raises(SystemExit, match="3 GPUs in CUDA_VISIBLE_DEVICES cannot be shared evenly"):
        launch.environments(2, [1, 2], {"CUDA_VISIBLE_DEVICES": "0,1,2"})


def test_without_the_variable_workers_get_none():
    assert "CUDA_VISIBLE_DEVICES" not in launch.environments(1, [1], {})[0]
