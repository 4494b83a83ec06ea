"""The loop in one process, on a system without networks."""

import contextlib
import dataclasses
import functools
import json
import math
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from figr_tf.core import checkpoints, interruption, recording, runs, system, training
from figr_tf.core.errors import RunError
from figr_tf.core.settings import full_identity
from figr_tf.sine.system import SineSettings, SineSystem
from tests.core.quadratic import QuadraticSettings, QuadraticSystem


@pytest.fixture(scope="module")
def settings():
    return QuadraticSettings(
        meta_learning_rate=1e-3, num_meta_steps=7, log_every=2, eval_every=5, checkpoint_every=3
    )


def _identity(settings):
    return full_identity(settings, {}, False)


def _folder(path, settings) -> runs.RunFolder:
    folder = runs.at_path(path, settings, _identity(settings))
    folder.record(settings, _identity(settings), {"flags.txt": ""})
    return folder


def _build(settings):
    return functools.partial(QuadraticSystem, rate=settings.rate)


def _train(settings, folder):
    training.train(_build(settings), settings, folder, _identity(settings))


def _trainer(settings, compiled=False):
    return training.Trainer(_build(settings), settings, compiled)


def _state(settings):
    return _trainer(settings).reptile


def _weights(state):
    return [variable.numpy() for variable in tf.nest.flatten(list(state.meta_weights.values()))]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, settings):
    folder = _folder(tmp_path_factory.mktemp("runs") / "unbroken", settings)
    _train(settings, folder)
    return folder


def _final_weights(folder, settings):
    state = _state(settings)
    checkpoints.restore_training(folder.checkpoints, state, {})
    return _weights(state)


def _lines(folder):
    return [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]


def _metric_lines(folder):
    """Those of the training, without reports about held-out tasks."""
    return [line for line in _lines(folder) if "distance" in line]


def test_a_run_leaves_checkpoints_pictures_and_finite_metrics(unbroken):
    assert sorted(p.name for p in unbroken.checkpoints.glob("*.index")) == [
        f"ckpt-00000000{step}.index" for step in (3, 6, 7)
    ]
    assert sorted(p.name for p in unbroken.grids.iterdir()) == [
        "step-000000005.png",
        "step-000000007.png",
    ]
    assert list(unbroken.tensorboard.glob("events*"))
    lines = _metric_lines(unbroken)
    assert [line["meta_step"] for line in lines] == [2, 4, 6, 7]
    for key in ("distance", "first_gradient_norm", "second_gradient_norm"):
        assert all(np.isfinite(line[key]) for line in lines)


def test_training_moves_the_weights(unbroken, settings):
    start = _state(settings)
    before = _weights(start)
    after = _final_weights(unbroken, settings)
    assert all(np.isfinite(w).all() for w in after)
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_several_meta_steps_a_call_take_the_steps_and_note_the_metrics_of_one_a_call(
    unbroken, settings, tmp_path
):
    several = dataclasses.replace(
        settings, meta_steps_per_call=3, log_every=7, eval_every=7, checkpoint_every=7
    )
    folder = _folder(tmp_path / "run", several)
    _train(several, folder)
    for a, b in zip(*(_final_weights(run, several) for run in (folder, unbroken)), strict=True):
        np.testing.assert_array_equal(a, b)
    (line,), lines = _metric_lines(folder), _metric_lines(unbroken)
    for key in ("distance", "first_gradient_norm"):
        assert line[key] == pytest.approx(np.dot([2, 2, 2, 1], [other[key] for other in lines]) / 7)


class _StopAfter(list):
    """Stands for the list of noted signals: full once the loop has looked at it `looks` times."""

    def __init__(self, looks):
        super().__init__([15])
        self._looks = looks

    def __bool__(self):
        self._looks -= 1
        return self._looks < 0


def test_an_interrupted_run_continues_to_the_same_bits(unbroken, settings, tmp_path, monkeypatch):
    folder = _folder(tmp_path / "run", settings)
    with monkeypatch.context() as patched:
        patched.setattr(training, "signals_noted", lambda *_: contextlib.nullcontext(_StopAfter(5)))
        with pytest.raises(interruption.Interrupted) as stop:
            _train(settings, folder)
    assert stop.value.exit_status == 128 + 15
    assert 0 < folder.num_checkpointed_meta_steps() < 7
    (folder.path / "metrics.jsonl").open("a").write(
        '{"meta_step": 6, "torn'
    )  # as a kill may leave it
    _train(settings, folder)
    weights = [_final_weights(run, settings) for run in (folder, unbroken)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [line["meta_step"] for line in _metric_lines(folder)][-2:] == [6, 7]


def test_a_finished_run_is_left_as_it_is(unbroken, settings):
    before = sorted((p, p.stat().st_mtime_ns) for p in unbroken.checkpoints.iterdir())
    _train(settings, unbroken)
    assert sorted((p, p.stat().st_mtime_ns) for p in unbroken.checkpoints.iterdir()) == before


def test_ten_meta_steps_in_a_row_that_are_not_finite_end_the_run_with_the_weights_intact(
    settings, tmp_path
):
    """An inner rate that overflows stands for any cause."""
    hopeless = dataclasses.replace(settings, rate=math.inf, num_meta_steps=50)
    folder = _folder(tmp_path / "run", hopeless)
    with pytest.raises(
        RunError, match="10 meta-steps in a row were not finite, up to meta-step 10"
    ):
        _train(hopeless, folder)
    state = _state(hopeless)
    before = _weights(state)
    assert checkpoints.restore_training(folder.checkpoints, state, {})
    assert int(state.num_skipped) == 10
    for a, b in zip(before, _weights(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_picture_lost_to_a_kill_is_drawn_on_the_next_start_and_equals_the_lost_one(
    unbroken, settings
):
    """Equal, because held-out tasks, supports and seeds are fixed."""
    path = unbroken.grid(7)
    before = path.read_bytes()
    path.unlink()
    assert not unbroken.is_finished(7)
    _train(settings, unbroken)
    assert path.read_bytes() == before
    assert unbroken.is_finished(7)


def test_pictures_at_different_meta_steps_show_the_same_support(unbroken):
    first, last = (np.asarray(Image.open(unbroken.grid(step))) for step in (5, 7))
    np.testing.assert_array_equal(first[0], last[0])
    assert (first[1] != last[1]).any()


def test_tensorboard_holds_the_scalars_and_the_pictures(unbroken):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = (p for p in unbroken.tensorboard.iterdir() if p.name.endswith(".from-0"))
    events = EventAccumulator(str(path))
    events.Reload()
    tags = events.Tags()
    assert {"distance", "first_gradient_norm", "second_gradient_norm"} <= set(tags["tensors"])
    assert [event.step for event in events.Tensors("distance")] == [2, 4, 6, 7]
    assert [event.step for event in events.Tensors("held_out")] == [5, 7]


def test_a_full_disk_while_writing_metrics_is_one_line_and_loses_no_history(settings, tmp_path):
    folder = _folder(tmp_path / "run", settings)
    metrics = recording.Metrics(folder, 0)
    history = "".join(json.dumps({"meta_step": step}) + "\n" for step in range(1, 400))
    (folder.path / "metrics.jsonl").write_text(history)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            metrics._forget_after(300)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (folder.path / "metrics.jsonl").read_text() == history

    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recording.Metrics, "write", full)
        with pytest.raises(RunError, match="No space left on device while writing metrics"):
            _train(settings, folder)


def test_a_full_disk_while_tensorboards_file_is_written_is_one_line(settings, tmp_path):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "events.out: No space left on device")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tf.summary, "scalar", full)
        with pytest.raises(RunError, match="No space left on device while writing metrics"):
            _train(settings, _folder(tmp_path / "run", settings))


def test_a_damaged_last_checkpoint_is_made_again_and_equals_the_lost_one(
    unbroken, settings, tmp_path, caplog
):
    shutil.copytree(unbroken.path, tmp_path / "run")
    folder = runs.RunFolder(tmp_path / "run")
    (folder.checkpoints / "ckpt-000000007.index").write_bytes(b"torn")
    _train(settings, folder)
    assert "ckpt-000000007 is damaged" in caplog.text
    weights = [_final_weights(run, settings) for run in (folder, unbroken)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert caplog.text.count("is damaged") == 1  # and not again when the weights were read back
    # The report of the last meta-step was dropped with it, and is made again with its picture.
    assert [line["meta_step"] for line in _lines(folder) if "held_out_mean" in line] == [5, 7]
    assert folder.grid(7).read_bytes() == unbroken.grid(7).read_bytes()


def test_a_signal_during_the_last_picture_is_no_end(unbroken, settings, tmp_path, monkeypatch):
    shutil.copytree(unbroken.path, tmp_path / "run")
    folder = runs.RunFolder(tmp_path / "run")
    folder.grid(7).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(training, "signals_noted", lambda *_: contextlib.nullcontext([15]))
        with pytest.raises(interruption.Interrupted):
            _train(settings, folder)
    assert not folder.is_finished(7)
    _train(settings, folder)
    assert folder.is_finished(7)


def test_a_stop_saves_once(settings, tmp_path, monkeypatch):
    writes = []
    write = tf.train.Checkpoint.write
    monkeypatch.setattr(
        tf.train.Checkpoint, "write", lambda self, path: writes.append(path) or write(self, path)
    )
    monkeypatch.setattr(training, "signals_noted", lambda *_: contextlib.nullcontext([15]))
    folder = _folder(tmp_path / "run", settings)
    with pytest.raises(interruption.Interrupted):
        _train(settings, folder)
    assert len(writes) == 1


def test_annealing_lowers_the_meta_learning_rate_linearly_to_zero(settings):
    annealed = dataclasses.replace(settings, anneal_meta_learning_rate=True, num_meta_steps=4)
    rates = [float(annealed.learning_rate(tf.constant(step))) for step in range(4)]
    np.testing.assert_allclose(rates, [1e-3, 0.75e-3, 0.5e-3, 0.25e-3], rtol=1e-6)
    assert settings.learning_rate(tf.constant(3)) == 1e-3


def test_the_optimisers_get_the_rate_of_the_meta_step_they_take():
    settings = SineSettings(num_meta_steps=4, meta_steps_per_call=1)
    trainer = training.Trainer(lambda: SineSystem(settings), settings, compiled=False)
    rates = []
    for _ in range(3):
        trainer.take_meta_steps(1)
        rates.append(float(trainer.reptile.optimizers["network"].learning_rate))
    np.testing.assert_allclose(rates, [0.1, 0.075, 0.05], rtol=1e-6)


def test_every_task_of_a_meta_batch_and_every_meta_step_draws_its_own(settings, monkeypatch):
    seen = []

    def note(_self, weights, carried, task, seed):
        seen.append((task.numpy().tobytes(), seed.numpy().tobytes()))
        zero = tf.constant(0.0)
        metrics = dict.fromkeys(QuadraticSystem.metric_labels, zero)
        return system.Adapted(weights, carried, metrics)

    monkeypatch.setattr(QuadraticSystem, "adapt", note)
    trainer = _trainer(dataclasses.replace(settings, meta_batch_size=3))
    for _ in range(3):
        trainer._take_meta_step(tf.constant(trainer.system.constants))
    assert len({seed for _, seed in seen}) == len(seen) == 9
    assert len({task for task, _ in seen}) > 3  # of five that there are
