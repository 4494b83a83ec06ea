"""Meta-steps: what they move, what they carry on, and that a run goes on bit for bit."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.classifier import episodes, networks
from figr_tf.classifier.adaptation import InnerLoop, State
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.classifier.system import ClassifierSystem
from figr_tf.core import checkpoints, reptile, runs, training
from figr_tf.core.random import stateless_seed
from tests.classifier.conftest import SETTINGS
from tests.conftest import identity_of

SGD = InnerLoop("sgd", learning_rate=0.01, batch_size=4, num_steps=3)


def _task(system, seed=0):
    return system.draw_task(system.constants, stateless_seed(seed))


def _read(system):
    weights = {"network": tuple(v.read_value() for v in system.meta_weights["network"])}
    return weights, tuple(v.read_value() for v in system.carried)


def _adapt(system, seed=0, task=None):
    weights, carried = _read(system)
    task = _task(system, seed) if task is None else task
    return system.adapt(weights, carried, task, stateless_seed(seed, 1))


def test_moments_are_sums_over_tasks_and_so_do_not_depend_on_their_order(build):
    ends = []
    for order in ([0, 1], [1, 0]):
        system = build()
        weights, carried = _read(system)
        tasks = tf.stack([_task(system, number) for number in order])
        each = [_adapt(system, task=task).carried for task in tasks]
        means = reptile.meta_gradient(
            lambda i, system=system, tasks=tasks: _adapt(system, task=tasks[i]),
            weights,
            carried,
            ["loss"],
            2,
        )
        reptile.Reptile(system).descend(means, 2)
        expected = carried[0] + sum(moments - carried[0] for moments, _ in each)
        np.testing.assert_allclose(system.carried[0], expected, rtol=1e-4, atol=1e-9)
        assert system.carried[1].numpy() == 2 * SETTINGS.inner.num_steps
        ends.append(system.carried[0].numpy())
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-9)


def test_foml_moves_by_the_last_steps_change_alone(build):
    system = build(inner=SGD, foml=True)
    weights, _ = _read(system)
    moved = networks.pack(_adapt(system).weights["network"]) - networks.pack(weights["network"])
    everything = build(inner=SGD)
    two = build(inner=dataclasses.replace(SGD, num_steps=2))
    # The first two of three steps see the same batches: the order of a task's images is the same.
    after = [networks.pack(_adapt(s).weights["network"]) for s in (everything, two)]
    np.testing.assert_allclose(moved, after[0] - after[1], atol=1e-6)


def test_one_step_of_foml_is_reptile(build):
    one = dataclasses.replace(SGD, num_steps=1)
    ours, theirs = (_adapt(build(inner=one, foml=foml)).weights for foml in (True, False))
    for a, b in zip(ours["network"], theirs["network"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-7)


def _before_the_tail(system, task):
    """Two steps, on the minibatches that three steps begin with."""
    images, labels = episodes.flat(task)
    batches = episodes.minibatches(9, SGD.batch_size, SGD.num_steps, stateless_seed(0, 1))[:2]
    start = State(networks.pack(_read(system)[0]["network"]), (), tf.constant(0.0))
    return SETTINGS.learner()._replace(inner=SGD).adapt(start, images, labels, batches)


def test_tail_shots_are_seen_by_the_last_step_alone(build):
    system = build(inner=SGD, foml=True, tail_shots=1)
    task = _task(system)
    weights, _ = _read(system)
    start = networks.pack(weights["network"])
    moved = networks.pack(_adapt(system, task=task).weights["network"]) - start
    before = _before_the_tail(system, task[:, :3])
    tail = SETTINGS.learner()._replace(inner=SGD).inner_step(before, task[:, 3], tf.range(3))
    np.testing.assert_allclose(moved, tail.weights - before.weights, atol=1e-6)


def _run(path, dataset, steps):
    settings = dataclasses.replace(SETTINGS, anneal_meta_learning_rate=False, num_meta_steps=steps)
    identity = identity_of(settings, dataset)
    folder = runs.at_path(path, settings, identity)
    folder.record(settings, identity, {"split.json": dataset.split.to_json()})
    training.train(lambda: ClassifierSystem(settings, dataset), settings, folder, identity)
    folder.unlock()
    return folder


def test_a_continued_run_is_an_unbroken_one_bit_for_bit_moments_included(tmp_path, dataset):
    unbroken = _run(tmp_path / "unbroken", dataset, 6)
    _run(tmp_path / "broken", dataset, 3)
    broken = _run(tmp_path / "broken", dataset, 6)
    states = []
    for folder in (unbroken, broken):
        system = ClassifierSystem(SETTINGS, dataset)
        state = reptile.Reptile(system)
        assert checkpoints.restore_training(folder.checkpoints, state, {})
        states.append([v.numpy() for v in checkpoints.state_variables(state)])
        assert system.carried[1].numpy() == 6 * 2 * 3
        assert folder.grid(6).exists()
    for ours, theirs in zip(*states, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tail_shots": 1}, "foml"),
        ({"meta_batch_size": 500}, "negative"),
        ({"num_shots": 0}, "num_shots"),
        ({"foml": True, "tail_shots": 4}, "leave"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SETTINGS, **wrong)


def test_settings_come_back_from_their_record():
    assert ClassifierSettings.from_dict(dataclasses.asdict(SETTINGS)) == SETTINGS
