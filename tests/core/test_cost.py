"""What --dry_run says of a training's cost."""

import itertools
import types

import pytest
import tensorflow as tf

from figr_tf.core import cost
from figr_tf.core.distributed.strategy import OneDevice
from figr_tf.core.reptile import MetaStepMetrics
from figr_tf.sine.system import SineSettings, SineSystem


def test_it_names_weights_memory_and_time_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "_LONG_ENOUGH", 0.0)
    settings = SineSettings(num_meta_steps=1_000_000, meta_steps_per_call=7)
    lines = list(cost.describe(lambda: SineSystem(settings), settings, False, OneDevice()))
    # 1 → 64 → 64 → 1 with biases: 64 + 64, 64² + 64, 64 + 1.
    assert lines[0].startswith("weights: network 4,353; 0.0174 MB")
    (memory,) = (line for line in lines if line.startswith("memory: "))
    assert 0.1 < float(memory.split()[1]) < 100
    assert lines[-1].startswith("time: ")
    assert "measured over 7 after the first; " in lines[-1]
    assert "for all 1,000,000" in lines[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("num_workers", "num_steps"), [(1, 8), (2, 4)])
def test_the_first_call_is_left_out_and_workers_take_as_many_as_each_other(
    num_workers, num_steps, monkeypatch
):
    """A call of four meta-steps takes two seconds, and the first a hundred more."""
    now, lasts = [0.0], itertools.chain([102.0], itertools.repeat(2.0))
    monkeypatch.setattr(cost.time, "monotonic", lambda: now[0])

    def take_meta_steps(times):
        assert times == 4
        now[0] += next(lasts)
        return MetaStepMetrics({}, tf.ones([times], tf.bool))

    cluster = types.SimpleNamespace(size=num_workers)
    supervisor = types.SimpleNamespace(cluster=cluster)
    trainer = types.SimpleNamespace(
        settings=SineSettings(meta_steps_per_call=4),
        replicas=types.SimpleNamespace(supervisor=supervisor),
        take_meta_steps=take_meta_steps,
    )
    assert cost.measure(trainer) == (num_steps, 0.5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.00123, "0.0012 s"), (11.2, "11 s"), (119.0, "119 s"), (130.0, "2 minutes")),
        *((7_300.0, "2 hours"), (90_000.0, "25 hours"), (2_750_000.0, "32 days")),
    ],
)
def test_durations_are_in_the_unit_that_people_would_take(seconds, text):
    assert cost.duration(seconds) == text
