"""Sine waves: the network against NumPy, and whether Reptile learns to adapt to them."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import training
from figr_tf.core.random import stateless_seed
from figr_tf.sine import system
from figr_tf.sine.system import SineSettings, SineSystem, Waves, descend, draw_waves, network_output
from tests import commands

SETTINGS = SineSettings(width=8, num_meta_steps=40, meta_steps_per_call=20)


@pytest.fixture(scope="module")
def untrained():
    return SineSystem(SETTINGS)


def _numpy_step(weights, x, y, rate):
    """Back-propagation by hand."""
    k0, b0, k1, b1, k2, b2 = weights
    first = np.tanh(x @ k0 + b0)
    second = np.tanh(first @ k1 + b1)
    error = 2 * (second @ k2 + b2 - y) / len(x)
    by_second = error @ k2.T * (1 - second**2)
    by_first = by_second @ k1.T * (1 - first**2)
    kernels = x.T @ by_first, first.T @ by_second, second.T @ error
    biases = (by.sum(0, keepdims=True) for by in (by_first, by_second, error))
    gradients = itertools.chain(*zip(kernels, biases, strict=True))
    return [w - rate * g for w, g in zip(weights, gradients, strict=True)]


def test_a_step_is_gradient_descent_on_the_mean_squared_error(untrained):
    x = np.linspace(-1, 1, 10, dtype=np.float32)[:, None]
    stepped, loss = descend(untrained.untrained, tf.constant(x), tf.constant(2 * x), 0.1)
    twin = _numpy_step([w.numpy() for w in untrained.untrained], x, 2 * x, 0.1)
    for ours, theirs in zip(stepped, twin, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert float(loss) == pytest.approx(
        np.mean((network_output(untrained.untrained, x) - 2 * x) ** 2), rel=1e-5
    )


def test_waves_side_by_side_are_adapted_to_as_each_alone(untrained):
    x = tf.constant(untrained.constants[::5])
    waves = Waves(tf.constant([[[1.0]], [[4.0]]]), tf.constant([[[0.0]], [[2.0]]]))
    both = tuple(tf.stack([w, w]) for w in untrained.untrained)
    together = untrained.adapt_to_points(both, tf.stack([x, x]), waves.at(x), 3)
    for task in range(2):
        alone = untrained.adapt_to_points(untrained.untrained, x, waves.at(x)[task], 3)
        for joined, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(joined[task], single, atol=1e-6)


def test_amplitudes_and_phases_lie_in_the_published_ranges():
    waves = draw_waves([2000], stateless_seed(3))
    assert 0.1 <= waves.amplitude.numpy().min() < 0.2
    assert 4.9 < waves.amplitude.numpy().max() <= 5.0
    assert waves.phase.numpy().min() < 0.1
    assert 6.2 < waves.phase.numpy().max() <= 2 * np.pi


def test_an_inner_loop_sees_each_point_once(untrained, monkeypatch):
    batches = []

    def recorded(layers, x, y, rate):
        batches.append(x.numpy())
        return descend(layers, x, y, rate)

    monkeypatch.setattr(system, "descend", recorded)
    x = tf.constant(untrained.constants)
    task = x, Waves(tf.constant(3.0), tf.constant(1.0)).at(x)
    untrained.adapt({"network": untrained.untrained}, (), task, stateless_seed(1))
    assert [len(batch) for batch in batches] == [10] * 5
    seen = np.concatenate(batches)
    assert (seen != untrained.constants).any()
    np.testing.assert_array_equal(np.sort(seen, 0), untrained.constants)


def test_meta_training_halves_the_error_after_adaptation():
    settings = SineSettings(num_meta_steps=6_000, meta_steps_per_call=1_000)
    trained = training.train(lambda: SineSystem(settings), settings)
    weights = tuple(v.read_value() for v in trained.meta_weights["network"])
    before = trained.test_error(trained.untrained, 32)
    assert trained.test_error(weights, 32) < before / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_run_of_the_documentation_ends_below_the_error_that_it_is_accepted_with(seed):
    """As `python -m figr_tf.sine` trains; docs/reptile.md has 0.124, 0.120 and 0.131."""
    settings = SineSettings(seed=seed)
    trained = training.train(lambda: SineSystem(settings), settings)
    weights = tuple(v.read_value() for v in trained.meta_weights["network"])
    assert trained.test_error(weights, 32) <= 0.15


def test_the_command_trains_draws_and_refuses_to_make_a_finished_schedule_longer(tmp_path):
    run, picture = tmp_path / "run", tmp_path / "sine.png"

    def sine(num_meta_steps):
        own = [f"--run={run}", f"--out={picture}", f"--num_meta_steps={num_meta_steps}"]
        return commands.run("figr_tf.sine", *own)

    first = sine(20)
    assert first.returncode == 0, first.stderr
    assert picture.exists()
    assert (run / "grids" / "step-000000020.png").exists()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["held_out_error_after_32"] < lines[-1]["held_out_error_after_0"]
    # The rate falls to 0 over a run, so a longer one is another run.
    longer = sine(40)
    assert longer.returncode == 1
    assert "num_meta_steps=20" in longer.stderr
