"""Tasks, steps and whole trainings of the redrawing network."""

import contextlib
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import random, runs, training
from figr_tf.core.errors import RunError
from figr_tf.core.interruption import Interrupted
from figr_tf.data import datasets
from figr_tf.data.class_images import ClassImages
from figr_tf.data.datasets import Dataset
from figr_tf.data.splits import Split
from figr_tf.warp import energy
from figr_tf.warp.generator import random_draw
from figr_tf.warp.model import WarpModel
from figr_tf.warp.settings import WarpSettings
from figr_tf.warp.system import WarpSystem, num_drawings, spread
from tests.conftest import identity_of
from tests.warp.conftest import DATA, train, weights_of

SEED = random.stateless_seed(4)


def test_tasks_are_of_training_classes_and_drawings_are_in_the_support_or_the_rest(
    settings,
    dataset,
    monkeypatch,
):
    def first_pixels(ink):
        return tf.reshape(ink, [-1, 16 * 16])

    monkeypatch.setattr(energy, "BlurSpace", lambda image_size: first_pixels)
    system = WarpSystem(dataclasses.replace(settings, upright_share=0.5), dataset)
    support, rest = system.draw_task(system.constants, SEED, num_tasks=40)
    training_drawings = dataset.data.images[:18, ..., 0]
    known = {turned.tobytes() for image in training_drawings for turned in _turns(image)}
    upright = {image.tobytes() for image in training_drawings}
    num_upright = 0
    for task in range(40):
        drawn = np.concatenate([support[task].numpy().reshape(2, -1), rest[task].numpy()])
        as_bytes = {np.rint(255 * (1 - d)).astype(np.uint8).tobytes() for d in drawn}
        assert len(as_bytes) == 6
        assert as_bytes <= known
        num_upright += as_bytes <= upright
    assert 10 < num_upright < 30


def test_of_a_larger_class_drawings_from_end_to_end_are_used():
    assert spread(20, 20).tolist() == list(range(20))
    assert spread(9, 5).tolist() == [0, 2, 4, 6, 8]
    assert len(set(spread(23, 16).tolist())) == 16


def test_of_a_class_of_hundreds_the_energy_distance_sees_64(settings, monkeypatch):
    monkeypatch.setattr(energy, "BlurSpace", lambda size: lambda ink: tf.reshape(ink, [-1, 256]))
    names = ("a", "b", "c")
    drawings = np.zeros([3 * 300, 16, 16, 1], np.uint8)
    drawings[:, 0, 0, 0] = np.arange(900) % 250
    data = ClassImages(drawings, dict.fromkeys(names, 300))
    many = Dataset(data, Split("own", names[:2], names[2:]))
    system = WarpSystem(settings, many)
    _, others = system.draw_task(system.constants, SEED, num_tasks=1)
    assert others.shape[1] == 64 - settings.num_shots
    assert num_drawings(many, names, num_shots=63) == 65


def test_fewer_drawings_than_the_energy_distance_needs_are_refused(settings):
    with pytest.raises(ValueError, match="two drawings beside the n = 2 of the support"):
        dataclasses.replace(settings, min_drawings=3)
    assert settings.class_size == 4
    assert dataclasses.replace(settings, min_drawings=7).class_size == 7


def _turns(image):
    return [np.ascontiguousarray(np.rot90(image, k)) for k in range(4)]


def test_a_step_descends_the_gradient_of_the_energy_distance_as_a_share_of_that_of_copying(
    settings, dataset, monkeypatch
):
    """By the loss worked out anew, and with gradients that are not clipped."""
    system = WarpSystem(settings, dataset)
    monkeypatch.setattr("figr_tf.warp.system._GRADIENT_NORM", 1e9)
    task = system.draw_task(system.constants, SEED)
    weights = {"generator": tuple(v.read_value() for v in system.meta_weights["generator"])}
    adapted = system.adapt(weights, (), task, SEED)
    variables = system.meta_weights["generator"]
    space = energy.BlurSpace(16)
    every = system.draw_task(system.constants, random.stateless_seed(settings.seed), 400, 0)
    with tf.GradientTape() as tape:
        ink = system.generator((task.support_ink, random_draw([2, 3], 64, 2, SEED)))
        embedded = tf.reshape(space(tf.reshape(ink, [6, 16, 16])), [2, 3, -1])
        distance = tf.reduce_mean(energy.energy_distance(embedded, task.others))
        loss = distance / energy.copying(every.others, 2)
    assert float(adapted.metrics["skill_blur"]) == pytest.approx(1 - float(loss), abs=1e-5)
    gradients = tape.gradient(loss, list(variables))
    stepped = zip(weights["generator"], adapted.weights["generator"], strict=True)
    for (before, after), gradient in zip(stepped, gradients, strict=True):
        rounding = 1e-5 + 1e-6 * np.abs(before).max()
        np.testing.assert_allclose(before - after, gradient, rtol=1e-3, atol=rounding)


def test_the_rate_rises_over_the_first_steps_stays_and_falls_to_a_fiftieth():
    settings = WarpSettings(data=DATA, num_meta_steps=1000)
    steps = (0, 24, 49, 600, 800, 999)
    rates = [float(settings.learning_rate(tf.constant(step))) for step in steps]
    np.testing.assert_allclose(rates, 1e-3 * np.array([0.02, 0.5, 1, 1, 0.5, 0.02]), rtol=1e-5)


def _assert_same_weights(path: pathlib.Path, other: pathlib.Path) -> None:
    for a, b in zip(weights_of(path), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_training_is_repeatable_and_moves_the_weights(run, settings, dataset, tmp_path):
    again = train(settings, dataset, tmp_path / "again").path
    _assert_same_weights(run, again)
    start = settings.build_generator().get_weights()
    assert any(np.abs(a - b).max() > 0 for a, b in zip(weights_of(run), start, strict=True))
    assert [line["meta_step"] for line in _metric_lines(run)] == [2, 4, 6, 7]
    assert all(np.isfinite(line["skill_blur"]) for line in _metric_lines(run))


def test_a_run_draws_with_the_average_of_its_weights(run, settings, dataset):
    reader = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-000000007"))
    for i, weight in enumerate(WarpModel(run).meta_weights()["generator"]):
        stored = {
            name: reader.get_tensor(f"{name}/{i}/.ATTRIBUTES/VARIABLE_VALUE")
            for name in ("generator", "generator_average")
        }
        np.testing.assert_array_equal(weight, stored["generator_average"])
        assert np.any(stored["generator"] != stored["generator_average"])


def _metric_lines(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


class _StopAfter(list):
    """A list of signals that is empty for some looks."""

    def __init__(self, looks):
        super().__init__([15])
        self._looks = looks

    def __bool__(self):
        self._looks -= 1
        return self._looks < 0


@pytest.mark.slow
def test_a_stopped_and_then_killed_training_goes_on_to_the_same_bits(
    run,
    settings,
    dataset,
    tmp_path,
    monkeypatch,
):
    path = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        stop_signals = contextlib.nullcontext(_StopAfter(7))
        patched.setattr(training, "signals_noted", lambda *_: stop_signals)
        with pytest.raises(Interrupted, match=r"SIGTERM at meta-step \d") as stop:
            train(settings, dataset, path)
    assert stop.value.exit_status == 128 + 15
    unfinished = WarpModel(path)
    assert unfinished.meta_step == runs.RunFolder(path).num_checkpointed_meta_steps()
    assert 0 < unfinished.meta_step < 7
    # As a kill leaves it.
    torn = '{"meta_step": 6, "skill_blur": 1}\n{"meta_step": 7, "torn'
    (path / "metrics.jsonl").open("a").write(torn)
    train(settings, dataset, path)
    _assert_same_weights(run, path)
    lines = _metric_lines(path)
    assert [line["meta_step"] for line in lines] == [2, 4, 6, 7]
    # The clock of a start that took one step tells no rate.
    timed = "meta_steps_per_second"
    assert lines[-1] | {timed: None} == _metric_lines(run)[-1] | {timed: None}


def test_a_run_that_has_no_checkpoint_yet_draws_nothing(settings, dataset, tmp_path):
    folder = runs.RunFolder(tmp_path)
    folder.record(settings, identity_of(settings, dataset), {})
    with pytest.raises(RunError, match="no checkpoint there yet"):
        WarpModel(tmp_path)


def test_a_run_of_other_settings_or_another_kind_of_folder_is_not_trained_into(
    run, run_folder, settings, dataset, tmp_path
):
    with pytest.raises(RunError, match="was trained with seed=0, this command has seed=1"):
        train(dataclasses.replace(settings, seed=1), dataset, run)
    # The rate falls towards the end of a run, so a longer one is another run.
    with pytest.raises(RunError, match="num_meta_steps=7, this command has num_meta_steps=8"):
        train(dataclasses.replace(settings, num_meta_steps=8), dataset, run)
    with pytest.raises(RunError, match="was trained with system=gan, this command has system=warp"):
        train(settings, dataset, run_folder)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists but is not a run folder"):
        train(settings, dataset, tmp_path)


def test_sizes_that_the_network_cannot_halve_are_refused():
    with pytest.raises(ValueError, match=r"a multiple of 16\. Received: image_size=40"):
        WarpSettings(data=datasets.DataSettings(image_size=40))
