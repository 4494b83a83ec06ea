"""Workers that do not come, do not fit or end: the others end with one line that names them."""

import signal
import sys
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf
from PIL import Image

from tests.e2e.worker_processes import (
    TINY,
    TRAIN,
    workers,
)
from tests.serving import processes

pytestmark = pytest.mark.whole


def test_a_worker_that_never_comes_is_named_within_the_deadline(tmp_path):
    begun = time.monotonic()
    with workers(3, [*TINY, f"--run={tmp_path / 'run'}", "--start_timeout=6"], absent=[1]) as two:
        chief, other = two.ended()
        sentence = f"error: worker 1 ({two.addresses[1]}) did not come within 6 s\n"
    assert (chief.status, other.status) == (75, 75)
    assert chief.stderr == other.stderr == sentence
    assert time.monotonic() - begun < 30
    assert not (tmp_path / "run").exists()


def test_a_chief_that_never_comes_is_named_within_the_deadline(tmp_path):
    with workers(2, [*TINY, "--start_timeout=3"], absent=[0]) as one:
        (worker,) = one.ended()
        assert (
            worker.stderr
            == f"error: worker 0 ({one.addresses[0]}) did not come within 3 s: Connection refused\n"
        )
    assert worker.status == 75


BEFORE_TENSORFLOW = """
import runpy, time
from figr_tf.core.distributed import strategy
strategy.build = lambda *_: time.sleep(600)
runpy.run_module("figr_tf.train", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def stuck_before_tensorflow():
    """Two workers that have met; the second never starts TensorFlow, so the first waits in it."""
    # Real starts, so that TensorFlow's library is mapped where it is imported.
    starts = {0: TRAIN, 1: [sys.executable, "-c", BEFORE_TENSORFLOW]}
    with workers(2, [*TINY, "--start_timeout=20"], starts=starts) as two:
        yield two


@pytest.mark.slow
def test_the_deadline_holds_while_tensorflow_waits_for_its_peers(stuck_before_tensorflow):
    chief, other = stuck_before_tensorflow.ended()
    assert (chief.status, other.status) == (75, 75)
    for worker in (chief, other):
        sentence = "waited 20 s for TensorFlow to start on all workers and to reach them"
        assert worker.stderr.endswith(f"): {sentence}\n")


def test_sigterm_ends_a_worker_while_tensorflow_waits_for_its_peers(stuck_before_tensorflow):
    chief = stuck_before_tensorflow.processes[0]
    processes.wait_for(lambda: _is_listening(chief.pid))
    then = stuck_before_tensorflow.signal(0, signal.SIGTERM)
    assert chief.wait() == -signal.SIGTERM
    assert time.monotonic() - then < 5


def _is_listening(pid: int) -> bool:
    """TensorFlow's server: our own listener is closed once all have come, and TensorFlow imported
    after it.
    """
    found = psutil.Process(pid)
    connections = found.net_connections()
    imported = any("libtensorflow" in mapped.path for mapped in found.memory_maps())
    return imported and any(connection.status == "LISTEN" for connection in connections)


OTHER_VERSION = """
import importlib.metadata, runpy
version = importlib.metadata.version
importlib.metadata.version = lambda name: "2.20.0" if name == "tensorflow" else version(name)
runpy.run_module("figr_tf.train", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("differently", "message"),
    [
        ({"more_flags": {1: ["--hidden=4"]}}, "has --hidden=4, worker 0 ({0}) has --hidden=2."),
        (
            {"starts": {1: [sys.executable, "-c", OTHER_VERSION]}},
            f"has tensorflow=2.20.0, worker 0 ({{0}}) has tensorflow={tf.__version__}.",
        ),
    ],
)
def test_another_worker_with_other_flags_or_version_ends_all_naming_both(
    differently, message, tmp_path
):
    with workers(2, [*TINY, f"--run={tmp_path / 'run'}"], **differently) as two:
        ended = two.ended()
        sentence = f"error: worker 1 ({two.addresses[1]}) {message.format(*two.addresses)}"
    for worker in ended:
        assert worker.status == 1
        assert (
            worker.stderr
            == f"{sentence} Start all workers with the same flags, data and versions.\n"
        )
    assert not (tmp_path / "run").exists()


def test_another_worker_with_other_pictures_ends_all_naming_both(tmp_path):
    pixels = np.full([16, 16], 255, np.uint8)
    for host in ("a", "b"):
        for drawing in range(9):
            path = tmp_path / host / f"class{drawing // 3}" / f"{drawing}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels[drawing] = 0 if host == "a" else drawing
            Image.fromarray(pixels).save(path)
    flags = [
        *TINY,
        "--dataset=folder",
        "--held_out_classes=class1",
        f"--cache_dir={tmp_path}/cache",
    ]
    own = {i: [f"--data_dir={tmp_path / host}"] for i, host in enumerate("ab")}
    with workers(2, [*flags, f"--run={tmp_path / 'run'}"], more_flags=own) as two:
        ended = two.ended()
    for worker in ended:
        assert worker.status == 1
        assert f"error: worker 1 ({two.addresses[1]}) has data_sha256=" in worker.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_meta_batch_that_cannot_be_shared_evenly_is_refused(tmp_path):
    with workers(2, [*TINY, "--meta_batch_size=3", f"--run={tmp_path / 'run'}"]) as two:
        ended = two.ended()
    for worker in ended:
        assert worker.status == 1
        assert "--meta_batch_size=3 is not a multiple of the 2 replicas" in worker.stderr


@pytest.mark.slow
def test_when_the_chief_is_killed_the_others_end_and_name_it(tmp_path):
    with workers(3, [*TINY, "--meta_batch_size=3", f"--run={tmp_path / 'run'}"]) as three:
        three.wait_for_line("meta-step 2/")
        three.signal(0, signal.SIGKILL)
        _, *others = three.ended()
    for worker in others:
        assert worker.status == 75
        assert f"error: worker 0 ({three.addresses[0]}) has died" in worker.stderr


@pytest.mark.slow
def test_a_worker_that_is_frozen_is_named_within_the_deadline(tmp_path):
    with workers(2, [*TINY, f"--run={tmp_path / 'run'}"]) as two:
        two.wait_for_line("meta-step 2/")
        then = two.signal(1, signal.SIGSTOP)
        assert two.processes[0].wait() == 75
        assert time.monotonic() - then < 60
        two.signal(1, signal.SIGKILL)
        chief, _ = two.ended()
    assert (
        f"error: worker 1 ({two.addresses[1]}) has given no sign of life for 30 s\n" in chief.stderr
    )


@pytest.mark.slow
def test_sigterm_while_the_chief_draws_pictures_does_not_wait_for_them(tmp_path):
    """Pictures of the ResNet pair take a while, and the first meta-step after them may not come in
    time.
    """
    flags = [*TINY, "--eval_every=3", "--num_inner_steps=400", f"--run={tmp_path / 'run'}"]
    with workers(2, flags) as two:
        two.wait_for_line("meta-step 3/")
        then = two.signal(1, signal.SIGTERM)
        ended = two.ended()
    assert [worker.status for worker in ended] == [143, 143]
    assert time.monotonic() - then < 30
    assert not list((tmp_path / "run/grids").iterdir())
