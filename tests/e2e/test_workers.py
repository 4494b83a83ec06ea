"""Several workers of one training, as processes of this host: equal to one, and ended together if
one ends.
"""

import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf
from PIL import Image

from tests import commands
from tests.conftest import ROOT
from tests.e2e.worker_processes import (
    ENVIRONMENT,
    TINY,
    TRAIN,
    loopback,
    newest_step,
    recorded_starts,
    workers,
)
from tests.serving import processes

TWO_DEVICES = """
import runpy, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
runpy.run_module("figr_tf.train", run_name="__main__", alter_sys=True)
"""


def _train(*flags: str) -> None:
    """One process, to its end."""
    result = commands.run("figr_tf.train", *flags, environment=ENVIRONMENT)
    assert result.returncode == 0, result.stdout + result.stderr


def _train_on_two_devices(*flags: str) -> None:
    command = [sys.executable, "-c", TWO_DEVICES, "--distribute=mirrored", *flags]
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, timeout=300)


def _tensors(run) -> dict[str, np.ndarray]:
    """Of the last checkpoint, without those that never have a gradient: there Adam magnifies
    rounding.
    """
    reader = tf.train.load_checkpoint(str(run / f"checkpoints/ckpt-{newest_step(run):09d}"))
    names = [
        n
        for n in reader.get_variable_to_shape_map()
        if "OBJECT_GRAPH" not in n and "identity/" not in n
    ]
    last = max(int(n.split("/")[1]) for n in names if n.startswith("discriminator/"))
    # What adds a constant to every score: the last bias and the last LayerNorm offset. The
    # optimiser lists two scalars, then the first moments, then the second ones.
    still = [f"discriminator/{i}/" for i in (last, last - 2)]
    still += [
        f"discriminator_optimizer/{2 + i + m}/" for i in (last, last - 2) for m in (0, last + 1)
    ]
    return {n: reader.get_tensor(n) for n in names if not n.startswith(tuple(still))}


def _assert_equal_up_to_rounding(run, other) -> None:
    """All of a checkpoint. Adam's moments tell a meta-gradient from half of it, which its steps
    hardly do.
    """
    ours, theirs = _tensors(run), _tensors(other)
    assert ours.keys() == theirs.keys()
    assert sum("optimizer" in name for name in ours) > 70
    for name, value in ours.items():
        np.testing.assert_allclose(
            theirs[name], value, rtol=1e-2, atol=1e-2 * np.abs(value).max(initial=0), err_msg=name
        )


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Two workers, one killed with kill -9; two again, at IPv6 addresses where there are any, of
    which one gets SIGTERM; the folder and how they ended."""
    run = tmp_path_factory.mktemp("workers") / "run"
    with workers(2, [*TINY, f"--run={run}"]) as killed:
        killed.wait_for_line("meta-step 3/")
        then = killed.signal(1, signal.SIGKILL)
        after_kill = killed.ended()
        kill_seconds = time.monotonic() - then
    with workers(2, [*TINY, f"--run={run}"], host=loopback()) as preempted:
        preempted.wait_for_line(f"meta-step {newest_step(run) + 3}/")
        then = preempted.signal(1, signal.SIGTERM)
        after_term = preempted.ended()
        term_seconds = time.monotonic() - then
    return run, killed.addresses, after_kill, kill_seconds, after_term, term_seconds


def test_when_a_worker_is_killed_the_other_ends_at_once_and_names_it(broken):
    _, addresses, (chief, killed), seconds, *_ = broken
    assert killed.status == -signal.SIGKILL
    assert chief.status == 75
    assert (
        f"error: worker 1 ({addresses[1]}) has died: its connection closed without a word\n"
        in chief.stderr
    )
    assert seconds < 15


def test_sigterm_on_any_worker_saves_and_ends_all(broken):
    run, *_, (chief, signalled), seconds = broken
    assert (chief.status, signalled.status) == (143, 143)
    stopped = next(
        line
        for line in chief.stdout.splitlines()
        if line.startswith("stopped by SIGTERM at meta-step")
    )
    assert int(stopped.split()[5].rstrip(";")) == newest_step(run)
    assert "continuing at meta-step" in chief.stdout
    assert signalled.stdout == ""
    assert seconds < 30


@pytest.fixture(scope="module")
def alone(broken):
    """What one process with all tasks makes of as many meta-steps, never interrupted."""
    run, *_ = broken
    folder = run.with_name("alone")
    _train(*TINY, f"--num_meta_steps={newest_step(run)}", f"--run={folder}")
    return folder


def test_two_workers_broken_and_resumed_equal_one_process_with_all_tasks(broken, alone):
    run, *_ = broken
    assert [start["replicas"] for start in recorded_starts(run)] == [2, 2]
    assert [start["replicas"] for start in recorded_starts(alone)] == [1]
    _assert_equal_up_to_rounding(alone, run)


@pytest.mark.slow
def test_a_run_of_two_workers_goes_on_with_one(broken, alone, tmp_path):
    folders = [
        pathlib.Path(shutil.copytree(folder, tmp_path / folder.name))
        for folder in (broken[0], alone)
    ]
    flags = [*TINY, f"--num_meta_steps={newest_step(alone) + 2}", "--run"]
    for folder in folders:
        _train(*flags, str(folder))
    assert [start["replicas"] for start in recorded_starts(folders[0])] == [
        2,
        2,
        1,
    ]
    _assert_equal_up_to_rounding(*folders)


@pytest.mark.slow
def test_two_devices_of_one_process_equal_one(alone, tmp_path):
    flags = [*TINY, f"--num_meta_steps={newest_step(alone)}", f"--run={tmp_path / 'run'}"]
    _train_on_two_devices(*flags)
    assert [start["replicas"] for start in recorded_starts(tmp_path / "run")] == [2]
    _assert_equal_up_to_rounding(alone, tmp_path / "run")


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
    with workers(2, [*TINY, "--start_timeout=8"], starts=starts) as two:
        yield two


@pytest.mark.slow
def test_the_deadline_holds_while_tensorflow_waits_for_its_peers(stuck_before_tensorflow):
    chief, other = stuck_before_tensorflow.ended()
    assert (chief.status, other.status) == (75, 75)
    for worker in (chief, other):
        sentence = "waited 8 s for TensorFlow to start on all workers and to reach them"
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


@pytest.mark.slow
def test_xla_and_replicas_go_together_and_change_nothing(tmp_path):
    """What is compiled is each replica's own part; the tasks drawn are those of one device with
    XLA.
    """
    flags = [*TINY, "--meta_batch_size=4", "--jit_compile=on", "--num_meta_steps=4", "--run"]
    _train(*flags, str(tmp_path / "alone"))
    at_a_stretch = ["--meta_steps_per_call=4", "--log_every=4", "--checkpoint_every=4"]
    _train_on_two_devices(*flags, str(tmp_path / "mirrored"), *at_a_stretch)
    _assert_equal_up_to_rounding(tmp_path / "alone", tmp_path / "mirrored")
