"""The outer loop on a system without networks: what the optimisers get, and what is left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import reptile
from figr_tf.core.optimizers import Adam, Interpolation
from tests.core.quadratic import RATE, QuadraticSystem

TARGETS = (1.0, 3.0, -2.0)


def _gradient(system, targets, state=None):
    """The meta-gradient of a meta-batch of tasks with these targets."""
    weights, carried = (state or reptile.Reptile(system)).read()
    tasks = tf.constant(targets)

    def adapt_to(task):
        return system.adapt(weights, carried, tf.gather(tasks, task), None)

    return reptile.meta_gradient(adapt_to, weights, carried, ["distance"], len(targets))


def _step(state, system, targets=TARGETS[:1]):
    return state.descend(_gradient(system, targets, state), len(targets))


def _values(nested):
    return [v.numpy() for v in tf.nest.flatten(nested)]


def _everything(state):
    optimizers = [list(optimizer.variables) for optimizer in state.optimizers.values()]
    return _values((state.meta_weights, optimizers, state.average, state.carried))


def test_the_meta_gradient_is_meta_weights_minus_adapted_weights():
    system = QuadraticSystem()
    gradient = _gradient(system, TARGETS[:1]).gradient
    for group, variables in system.meta_weights.items():
        for g, phi in zip(gradient[group], variables, strict=True):
            np.testing.assert_allclose(g, RATE * (phi - TARGETS[0]), rtol=1e-5, atol=1e-6)


def test_a_meta_batch_averages_its_tasks():
    system = QuadraticSystem()
    together = _gradient(system, TARGETS)
    alone = [_gradient(system, [target]) for target in TARGETS]
    for mean, *each in zip(*(map(_values, (together, *alone))), strict=True):
        np.testing.assert_allclose(mean, np.mean(each, 0), rtol=1e-5, atol=1e-6)


def test_the_carried_state_grows_by_every_task_whatever_their_order():
    after = []
    for targets in (TARGETS, TARGETS[::-1]):
        system = QuadraticSystem()
        state = reptile.Reptile(system)
        _step(state, system, targets)
        after.append(system.carried[0].numpy())
    np.testing.assert_allclose(after[0], [sum(TARGETS), sum(t**2 for t in TARGETS)], rtol=1e-6)
    np.testing.assert_allclose(after[0], after[1], rtol=1e-6)


def test_interpolation_of_rate_1_lands_on_the_adapted_weights():
    system = QuadraticSystem(lambda: Interpolation(1.0))
    before = _values(system.meta_weights)
    _step(reptile.Reptile(system), system)
    for phi, moved in zip(before, _values(system.meta_weights), strict=True):
        np.testing.assert_allclose(moved, phi - RATE * (phi - TARGETS[0]), rtol=1e-5, atol=1e-6)


def test_adam_moves_the_meta_weights_towards_the_adapted_weights():
    """The wrong sign of the meta-gradient moves every weight away: Adam's first step is rate ·
    sign.
    """
    system = QuadraticSystem()
    before = _values(system.meta_weights)
    _step(reptile.Reptile(system), system)
    for phi, moved in zip(before, _values(system.meta_weights), strict=True):
        np.testing.assert_array_equal(np.sign(moved - phi), np.sign(TARGETS[0] - phi))


def test_adam_is_keras_adam_with_the_epsilon_of_pytorch():
    start = np.array([1.0, -2.0, 3.0], np.float32)
    ours, theirs = tf.Variable(start), keras.Variable(start)
    adam, twin = Adam(1e-2), keras.optimizers.Adam(1e-2, epsilon=1e-8)
    adam.build([ours])
    twin.build([theirs])
    for gradient in ([1.0, -1e-8, 1e-3], [0.5, 2e-8, -1e-3], [0.0, 1e-9, 1.0]):
        adam.apply([tf.constant(gradient)], [ours])
        twin.apply([tf.constant(gradient)], [theirs])
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_the_average_follows_the_meta_weights_with_a_decay_that_rises_to_what_was_asked_for():
    system = QuadraticSystem()
    state = reptile.Reptile(system, average_decay=0.3)
    average = _values(system.meta_weights)
    for count in range(6):
        _step(state, system)
        decay = min(0.3, (count + 1) / (count + 10))
        now = _values(system.meta_weights)
        average = [decay * a + (1 - decay) * w for a, w in zip(average, now, strict=True)]
    for ours, twin in zip(_values(state.average), average, strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-5)
        assert (ours != 0).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_meta_step_that_is_not_finite_changes_no_bit_and_is_counted(bad):
    system = QuadraticSystem()
    state = reptile.Reptile(system, average_decay=0.9)
    _step(state, system)
    before = _everything(state)
    for expected in (1, 2):
        assert not bool(_step(state, system, [bad]).finite)
        assert int(state.num_skipped_in_a_row) == int(state.num_skipped) == expected
    for a, b in zip(before, _everything(state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(state.meta_step) == 3
    assert bool(_step(state, system).finite)
    assert (int(state.num_skipped), int(state.num_skipped_in_a_row)) == (2, 0)
    assert all(np.isfinite(value).all() for value in _everything(state))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_carried_state_that_would_not_be_finite_is_not_taken_over(bad):
    system = QuadraticSystem()
    state = reptile.Reptile(system)
    before = _everything(state)
    # As where a square of a gradient overflows: the weights move by a finite step.
    means = _gradient(system, TARGETS, state)._replace(carried_change=(tf.constant([1.0, bad]),))
    assert not bool(state.descend(means, len(TARGETS)).finite)
    for a, b in zip(before, _everything(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_metrics_are_those_of_the_system_and_the_norm_of_each_group():
    system = QuadraticSystem()
    state = reptile.Reptile(system)
    gradient = _gradient(system, TARGETS, state)
    metrics = state.descend(gradient, len(TARGETS))
    assert metrics.values.keys() == state.metric_dtypes().values.keys()
    for group in ("first", "second"):
        flat = np.concatenate([g.numpy().ravel() for g in gradient.gradient[group]])
        found = metrics.values[f"{group}_gradient_norm"]
        assert float(found) == pytest.approx(np.linalg.norm(flat), rel=1e-5)


def test_the_meta_step_compiles_with_xla_and_agrees_with_the_plain_one():
    after = []
    for jit_compile in (False, True):
        system = QuadraticSystem()
        state = reptile.Reptile(system, average_decay=0.5)
        step = tf.function(
            lambda state=state, system=system: _step(state, system, TARGETS),
            autograph=False,
            jit_compile=jit_compile,
        )
        for _ in range(2):
            assert step().finite
        after.append(_everything(state))
    for plain, compiled in zip(*after, strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-5, atol=1e-6)
