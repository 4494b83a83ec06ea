"""Several workers of one training, as processes of this host: equal to one, and ended together if one ends."""

import signal
import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import ROOT
from tests.e2e import worker_processes
from tests.e2e.worker_processes import ENVIRONMENT, TINY, TRAIN, newest_step, workers

STEPS = 12


def _train_alone(run, *flags) -> None:
    result = subprocess.run(
        [*TRAIN, *TINY, f"--run={run}", *flags], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr


def _tensors(run) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run / f"checkpoints/ckpt-{newest_step(run):09d}"))
    skipped = ("OBJECT_GRAPH", "identity/")
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map() if not any(s in n for s in skipped)}


def _assert_equal_up_to_rounding(run, other) -> None:
    """All of a checkpoint. Adam's moments tell a meta-gradient from half of it, which its steps hardly do."""
    ours, theirs = _tensors(run), _tensors(other)
    assert ours.keys() == theirs.keys()
    assert sum("optimizer" in name for name in ours) > 100
    for name, value in ours.items():
        np.testing.assert_allclose(
            theirs[name], value, rtol=1e-3, atol=1e-3 * np.abs(value).max(initial=0), err_msg=name
        )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with a meta-batch of two."""
    run = tmp_path_factory.mktemp("alone") / "run"
    _train_alone(run, f"--num_meta_steps={STEPS}")
    return run


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Two workers, one killed with kill -9; two again, of which one gets SIGTERM; the folder and how they ended."""
    run = tmp_path_factory.mktemp("workers") / "run"
    with workers(2, [*TINY, f"--run={run}"]) as killed:
        killed.wait_for_line("meta-step 3/")
        then = killed.signal(1, signal.SIGKILL)
        after_kill = killed.ended()
        kill_seconds = time.monotonic() - then
    with workers(2, [*TINY, f"--run={run}"]) as preempted:
        preempted.wait_for_line(f"meta-step {newest_step(run) + 3}/")
        then = preempted.signal(1, signal.SIGTERM)
        after_term = preempted.ended()
        term_seconds = time.monotonic() - then
    return run, killed.addresses, after_kill, kill_seconds, after_term, term_seconds


def test_when_a_worker_is_killed_the_other_ends_at_once_and_names_it(broken):
    _, addresses, (chief, killed), seconds, *_ = broken
    assert killed.status == -signal.SIGKILL
    assert chief.status == 75
    assert f"error: worker 1 ({addresses[1]}) has died: its connection closed without a word\n" in chief.stderr
    assert seconds < 15


def test_sigterm_on_any_worker_saves_and_ends_all(broken):
    run, *_, (chief, signalled), seconds = broken
    assert (chief.status, signalled.status) == (143, 143)
    stopped = next(line for line in chief.stdout.splitlines() if line.startswith("stopped by SIGTERM at meta-step"))
    assert int(stopped.split()[5].rstrip(";")) == newest_step(run)
    assert "continuing at meta-step" in chief.stdout
    assert signalled.stdout == ""
    assert seconds < 30


def test_a_broken_run_of_two_workers_that_one_finishes_equals_that_of_one_with_a_meta_batch_of_two(
    broken, alone, tmp_path
):
    run, *_ = broken
    done = newest_step(run)
    _train_alone(run, f"--num_meta_steps={done + 2}")
    assert [start["replicas"] for start in worker_processes.starts(run)] == [2, 2, 1]
    unbroken = alone
    if done + 2 != STEPS:
        _train_alone(alone, f"--num_meta_steps={done + 2}")
    _assert_equal_up_to_rounding(unbroken, run)


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
        assert worker.stderr == f"error: worker 0 ({one.addresses[0]}) did not come within 3 s: Connection refused\n"
    assert worker.status == 75


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
            {"commands": {1: [TRAIN[0], "-c", OTHER_VERSION]}},
            f"has tensorflow=2.20.0, worker 0 ({{0}}) has tensorflow={tf.__version__}.",
        ),
    ],
)
def test_another_worker_with_other_flags_or_version_ends_all_naming_both(differently, message, tmp_path):
    with workers(2, [*TINY, f"--run={tmp_path / 'run'}"], **differently) as two:
        ended = two.ended()
        sentence = f"error: worker 1 ({two.addresses[1]}) {message.format(*two.addresses)}"
    for worker in ended:
        assert worker.status == 1
        assert worker.stderr == f"{sentence} Start all workers with the same flags, data and versions.\n"
    assert not (tmp_path / "run").exists()


def test_another_worker_with_other_pictures_ends_all_naming_both(tmp_path):
    pixels = np.full([16, 16], 255, np.uint8)
    for host in ("a", "b"):
        for drawing in range(9):
            path = tmp_path / host / f"class{drawing // 3}" / f"{drawing}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels[drawing] = 0 if host == "a" else drawing
            Image.fromarray(pixels).save(path)
    flags = [*TINY, "--dataset=folder", "--held_out_classes=class1", f"--cache_dir={tmp_path}/cache"]
    own = {i: [f"--data_dir={tmp_path / host}"] for i, host in enumerate("ab")}
    with workers(2, [*flags, f"--run={tmp_path / 'run'}"], more_flags=own) as two:
        ended = two.ended()
    for worker in ended:
        assert worker.status == 1
        assert f"error: worker 1 ({two.addresses[1]}) has data_sha256=" in worker.stderr
    assert not (tmp_path / "run").exists()
