"""What ends a training from outside: terminals that close, output that nobody reads."""

import contextlib
import os
import signal
import sys

import pytest

from figr_tf.core import interruption, recording, runs, training
from figr_tf.core.settings import full_identity
from figr_tf.sine.system import SineSettings, SineSystem


def _sine_run(path, num_meta_steps):
    """A training of sine waves, and the folder for it."""
    settings = SineSettings(num_meta_steps=num_meta_steps, meta_steps_per_call=1, log_every=1)
    identity = full_identity(settings, {}, False)
    folder = runs.at_path(path, settings, identity)
    folder.record(settings, identity, {})
    return lambda: training.train(lambda: SineSystem(settings), settings, folder, identity), folder


def _after(meta_step, act, monkeypatch):
    count = recording.Recorder.count

    def counted(self, metrics, step):
        if step == meta_step:
            act()
        count(self, metrics, step)

    monkeypatch.setattr(recording.Recorder, "count", counted)


@pytest.fixture
def terminal():
    """As when started in a terminal, even if these tests run under nohup."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_that_closes_ends_a_run_saved(tmp_path, monkeypatch):
    train, folder = _sine_run(tmp_path / "run", 20)
    _after(3, lambda: signal.raise_signal(signal.SIGHUP), monkeypatch)
    with pytest.raises(interruption.Interrupted, match="by SIGHUP at meta-step 3") as caught:
        train()
    assert caught.value.exit_status == 128 + signal.SIGHUP
    assert folder.num_checkpointed_meta_steps() == 3


@pytest.mark.usefixtures("terminal")
def test_under_nohup_a_terminal_that_closes_ends_nothing(monkeypatch):
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in interruption.endings()
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert signal.SIGHUP in interruption.endings()


def test_output_that_nobody_reads_any_more_ends_a_run_saved(tmp_path, monkeypatch):
    train, folder = _sine_run(tmp_path / "run", 20)
    reading, writing = os.pipe()
    monkeypatch.setattr("sys.stdout", os.fdopen(writing, "w"))
    _after(4, lambda: os.close(reading), monkeypatch)
    with pytest.raises(interruption.Interrupted) as caught:
        train()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.close()
    assert str(caught.value) == "stopped at meta-step 4, since nothing takes its output any more"
    assert caught.value.exit_status == 128 + signal.SIGPIPE
    assert folder.num_checkpointed_meta_steps() == 4
