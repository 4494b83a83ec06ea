"""Drawings and tasks; what a meta-step moves; and that a run goes on bit for bit."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import checkpoints, reptile, runs, training
from figr_tf.core.random import stateless_seed
from figr_tf.pixelcnn import drawings, networks
from figr_tf.pixelcnn.settings import PixelCnnSettings
from figr_tf.pixelcnn.system import PixelCnnSystem
from tests.conftest import identity_of
from tests.pixelcnn.conftest import SETTINGS, SIZE


def test_a_pixel_is_ink_where_any_of_its_sixteen_is_and_the_rest_of_a_file_does_not_count():
    pixels = np.full([1, 9, 9, 1], 255, np.uint8)
    pixels[0, 5, 7] = 127  # The last but one of both halves: row 1, column 1.
    pixels[0, 0, 0] = 128  # Not dark enough.
    pixels[0, 8, 8] = 0  # The ninth row and column are left over.
    np.testing.assert_array_equal(drawings.pooled(pixels), [[[0, 0], [0, 1]]])
    assert drawings.decoded_size(26) == 105
    ink = drawings.pooled(np.zeros([2, 105, 105, 1], np.uint8))
    assert ink.shape == (2, 26, 26)
    np.testing.assert_array_equal(drawings.to_ink(drawings.to_pixels(ink)), ink)


def test_a_task_is_different_drawings_of_one_training_class(build, dataset):
    system = build()
    training_set = drawings.drawings_of(dataset, dataset.split.training)
    seen = set()
    for seed in range(20):
        task = system.draw_task(system.constants, stateless_seed(seed)).numpy()
        assert task.shape == (5, SIZE, SIZE)
        matches = [
            number
            for number in range(len(training_set.counts))
            if all((training_set.of(number) == image).all((1, 2)).any() for image in task)
        ]
        assert len(matches) == 1
        assert len({image.tobytes() for image in task}) == 5
        seen |= set(matches)
    assert len(seen) > 3


def _adapt(system, task, seed=1):
    weights = {"network": tuple(v.read_value() for v in system.meta_weights["network"])}
    return weights["network"], system.adapt(weights, (), task, stateless_seed(seed))


def test_one_inner_step_moves_by_the_gradient_of_the_batch(build):
    system = build(num_inner_steps=1, batch_size=5)
    task = system.draw_task(system.constants, stateless_seed(2))
    before, adapted = _adapt(system, task)
    with tf.GradientTape() as tape:
        tape.watch(before)
        named = dict(zip(SETTINGS.network.shapes(), before, strict=True))
        nats = networks.nats(SETTINGS.network, named, task, networks.Context())
        loss = tf.reduce_mean(nats)
    slopes = tape.gradient(loss, before)
    for name, w, after, slope in zip(
        named, before, adapted.weights["network"], slopes, strict=True
    ):
        scale = {"last/kernel": 0.1, "hidden/kernel": 0.3}.get(name, 1.0)
        if name.startswith("layer") and not name.endswith("bias"):
            scale = 3.0
        np.testing.assert_allclose(w - after, scale * slope, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(adapted.metrics["nats"], loss, rtol=1e-5)


def test_a_conditional_network_is_shown_the_first_drawings_and_scored_on_others(build):
    network = dataclasses.replace(SETTINGS.network, condition="features")
    system = build(network=network)
    for v in system.meta_weights["network"]:
        v.assign(0.3 * tf.random.stateless_normal(v.shape, [1, 2]))
    task = system.draw_task(system.constants, stateless_seed(2))
    _, adapted = _adapt(system, task)
    # Three of the five drawings are scored, in batches of three, so that their order is nothing.
    for same in (tf.gather(task, [1, 0, 2, 3, 4]), tf.gather(task, [0, 1, 4, 3, 2])):
        _, again = _adapt(system, same)
        np.testing.assert_allclose(again.metrics["nats"], adapted.metrics["nats"], rtol=1e-4)
    _, other = _adapt(system, tf.gather(task, [2, 1, 0, 3, 4]))
    assert abs(float(other.metrics["nats"] - adapted.metrics["nats"])) > 1e-4


def _run(path, dataset, steps):
    settings = dataclasses.replace(SETTINGS, num_meta_steps=steps)
    identity = identity_of(settings, dataset)
    folder = runs.at_path(path, settings, identity)
    folder.record(settings, identity, {"split.json": dataset.split.to_json()})
    trained = training.train(lambda: PixelCnnSystem(settings, dataset), settings, folder, identity)
    folder.unlock()
    return folder, trained


@pytest.mark.slow
def test_a_continued_run_is_an_unbroken_one_bit_for_bit(tmp_path, dataset):
    unbroken, trained = _run(tmp_path / "unbroken", dataset, 6)
    _run(tmp_path / "broken", dataset, 3)
    broken, _ = _run(tmp_path / "broken", dataset, 6)
    states = []
    for folder in (unbroken, broken):
        system = PixelCnnSystem(SETTINGS, dataset)
        state = reptile.Reptile(system, SETTINGS.meta_average)
        assert checkpoints.restore_training(folder.checkpoints, state, {})
        states.append([v.numpy() for v in checkpoints.state_variables(state)])
        assert folder.grid(6).exists()
    for ours, theirs in zip(*states, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    report = trained.report(trained.constants)
    assert 0 < report["nats_adapted"] < report["nats"] < 1


def test_steps_of_training_move_their_drawings_if_asked_to(build):
    metrics = []
    for max_shift in (0, 3):
        system = build(num_inner_steps=1, batch_size=5, max_shift=max_shift)
        task = system.draw_task(system.constants, stateless_seed(2))
        metrics.append(float(_adapt(system, task)[1].metrics["nats"]))
        again = float(_adapt(system, task)[1].metrics["nats"])
        assert again == metrics[-1]
    assert metrics[0] != pytest.approx(metrics[1], rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_shots": 0}, "num_shots"),
        ({"batch_size": 6}, "leave a batch.*batch_size=6"),
        ({"inner_learning_rate": 0.0}, "inner_learning_rate must be above 0"),
        ({"eval_learning_rate": float("nan")}, "eval_learning_rate must be above 0"),
        ({"eval_inner_steps": -1}, "eval_inner_steps"),
        ({"max_shift": -1}, "max_shift must be 0 or more"),
        ({"network": networks.NetworkSpec(10)}, "image_size"),
        (
            {
                "network": dataclasses.replace(SETTINGS.network, condition="features"),
                "num_shots": 3,
            },
            "beside num_shots",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SETTINGS, **wrong)


def test_settings_come_back_from_their_record():
    assert PixelCnnSettings.from_dict(dataclasses.asdict(SETTINGS)) == SETTINGS
