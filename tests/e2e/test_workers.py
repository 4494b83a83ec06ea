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
import pytest
import tensorflow as tf

from figr_tf.classifier.model import ClassifierModel
from tests import commands
from tests.conftest import ROOT
from tests.e2e.worker_processes import (
    ENVIRONMENT,
    TINY,
    loopback,
    newest_step,
    recorded_starts,
    workers,
)

pytestmark = pytest.mark.whole

TWO_DEVICES = """
import runpy, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""


def _train(*flags: str) -> None:
    """One process, to its end."""
    result = commands.run("figr_tf.train", *flags, environment=ENVIRONMENT)
    assert result.returncode == 0, result.stdout + result.stderr


def _train_on_two_devices(*flags: str, module: str = "figr_tf.train") -> None:
    program = TWO_DEVICES.format(module=module)
    command = [sys.executable, "-c", program, "--distribute=mirrored", *flags]
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


def test_moments_that_go_on_from_task_to_task_are_the_same_on_two_devices(tmp_path):
    """Each replica changes them by its own tasks; half of what is right would go unnoticed in Φ."""
    flags = [
        *("--dataset=glyphs", "--image_size=14", "--filters=2", "--num_classes=3"),
        *("--num_shots=1", "--train_shots=4", "--inner_batch_size=4", "--num_inner_steps=2"),
        *("--meta_batch_size=4", "--num_meta_steps=5", "--run"),
    ]
    module = "figr_tf.train_classifier"
    one, two = tmp_path / "one", tmp_path / "two"
    assert commands.run(module, *flags, str(one), environment=ENVIRONMENT).returncode == 0
    _train_on_two_devices(*flags, str(two), module=module)
    (moments, count), theirs = (ClassifierModel(folder).carried for folder in (one, two))
    # K steps of each task of each meta-step, on whichever device.
    assert count.numpy() == theirs[1].numpy() == 5 * 4 * 2
    assert moments.numpy().max() > 0
    np.testing.assert_allclose(moments, theirs[0], rtol=1e-3, atol=1e-6 * moments.numpy().max())


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
