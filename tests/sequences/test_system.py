"""Meta-steps on sequences: what Φ moves by, and that a run goes on bit for bit."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import checkpoints, reptile, runs, training
from figr_tf.core.random import stateless_seed
from figr_tf.core.settings import full_identity
from figr_tf.data import datasets, splits
from figr_tf.data.class_images import ClassImages
from figr_tf.sequences import data, images, recurrence, system
from figr_tf.sequences.networks import NetworkSpec
from figr_tf.sequences.settings import SequenceSettings
from figr_tf.sequences.system import SequenceSystem
from figr_tf.sequences.text import TextSettings
from tests.sequences.conftest import (
    SETTINGS,
    SIZE,
    SPEC,
    TEXT_SETTINGS,
    TEXT_SPEC,
    random_images,
)


def _adapt(built, seed=0):
    weights = {"network": tuple(v.read_value() for v in built.meta_weights["network"])}
    task = built.draw_task(built.constants, stateless_seed(seed))
    named = dict(zip(SPEC.shapes(), weights["network"], strict=True))
    return named, task, built.adapt(weights, (), task, stateless_seed(seed))


def test_reptile_goes_to_the_mean_of_where_each_image_leads(build):
    named, task, adapted = _adapt(build())
    rate = SETTINGS.inner_learning_rate
    each = [recurrence.run(SPEC, named, rate, task[i : i + 1]).weights for i in range(3)]
    for name, after in zip(named, adapted.weights["network"], strict=True):
        expected = np.mean([weights[name][0] for weights in each], 0)
        np.testing.assert_allclose(after, expected, atol=1e-5)


def test_maml_goes_down_the_slope_through_all_steps(build):
    named, task, adapted = _adapt(build(objective="maml"))
    rate, nudge = SETTINGS.inner_learning_rate, 1e-3
    slope = {
        name: w - after
        for (name, w), after in zip(named.items(), adapted.weights["network"], strict=True)
    }
    length = float(tf.linalg.global_norm(list(slope.values())))

    def loss(sign):
        moved = {name: w + sign * nudge / length * slope[name] for name, w in named.items()}
        return float(tf.reduce_mean(recurrence.run(SPEC, moved, rate, task).nats))

    assert length == pytest.approx((loss(1) - loss(-1)) / (2 * nudge), rel=2e-2)
    _, _, first_order = _adapt(build())
    # The steps' own dependence on Φ makes a difference.
    other = [w - a for w, a in zip(named.values(), first_order.weights["network"], strict=True)]
    cosine = sum(
        float(tf.reduce_sum(a * b)) for a, b in zip(slope.values(), other, strict=True)
    ) / (length * float(tf.linalg.global_norm(other)))
    assert 0 < cosine < 0.999


# The network with the smallest graph.
_QUICK = dataclasses.replace(SETTINGS, network=NetworkSpec("mlp", SIZE, width=4, num_blocks=1))


def _run(path, sequences, steps):
    settings = dataclasses.replace(_QUICK, num_meta_steps=steps, eval_every=100)
    # Without XLA, which takes seconds to compile; with it a run goes on as well.
    identity = full_identity(settings, sequences.facts, compiled=False)
    folder = runs.at_path(path, settings, identity)
    folder.record(settings, identity, {})
    training.train(lambda: SequenceSystem(settings, sequences), settings, folder, identity)
    folder.unlock()
    return folder


@pytest.mark.slow
def test_a_continued_run_is_an_unbroken_one_bit_for_bit(tmp_path, sequences):
    unbroken = _run(tmp_path / "unbroken", sequences, 6)
    _run(tmp_path / "broken", sequences, 3)
    broken = _run(tmp_path / "broken", sequences, 6)
    states = []
    for folder in (unbroken, broken):
        state = reptile.Reptile(SequenceSystem(_QUICK, sequences), _QUICK.meta_average)
        assert checkpoints.restore_training(folder.checkpoints, state, {})
        states.append([v.numpy() for v in checkpoints.state_variables(state)])
    for ours, theirs in zip(*states, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_tenth_image_is_held_out_and_a_dark_byte_is_ink(monkeypatch):
    bytes_ = np.stack([np.full([SIZE, SIZE, 1], 100 + i, np.uint8) for i in range(40)])
    dataset = datasets.Dataset(ClassImages(bytes_, {"a": 25, "b": 15}), None)
    monkeypatch.setattr(images, "load_dataset", lambda settings, shots: dataset)
    loaded = system.load(SETTINGS.data)
    assert (len(loaded.starts), len(loaded.held_out)) == (36, 4)
    # Bytes 100, 110, 120 are ink, 130 is paper.
    np.testing.assert_array_equal(loaded.held_out[:, 0], [1, 1, 1, 0])
    assert loaded.stream.sum() == 25 * SIZE**2
    np.testing.assert_array_equal(images.to_pixels(loaded.held_out)[[0, 3], 0, 0, 0], [0, 255])


def test_a_named_split_holds_out_whole_classes(monkeypatch):
    bytes_ = np.stack([np.full([SIZE, SIZE, 1], i, np.uint8) for i in range(0, 240, 6)])
    split = splits.split_by("odd", ["a", "b", "c"], {"b"}.__contains__)
    dataset = datasets.Dataset(ClassImages(bytes_, {"a": 20, "b": 5, "c": 15}), split)
    monkeypatch.setattr(images, "load_dataset", lambda settings, shots: dataset)
    settings = dataclasses.replace(SETTINGS.data, held_out_classes=("b",))
    loaded = system.load(settings)
    # Bytes 120 and 126 are ink, 132 to 144 are paper.
    np.testing.assert_array_equal(loaded.held_out[:, 0], [1, 1, 0, 0, 0])
    assert loaded.stream.sum() == 20 * SIZE**2
    assert len(loaded.starts) == 35
    assert loaded.facts["held_out"] == split.describe()
    assert loaded.files == {"split.json": split.to_json()}


def test_a_task_is_of_whole_training_images(build, sequences):
    built = build(num_sequences=50)
    task = built.draw_task(built.constants, stateless_seed(1)).numpy()
    training = {image.tobytes() for image in random_images(60)[:50]}
    assert {image.tobytes() for image in task} <= training
    assert len({image.tobytes() for image in task}) > 20


def test_fewer_than_are_asked_for_are_all_shown():
    assert data.spread(np.arange(2), 8).tolist() == [0, 1]
    assert data.spread(np.arange(20), 8).tolist() == list(range(0, 16, 2))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"num_sequences": 0}, "num_sequences"),
        ({"inner_learning_rate": 0.0}, "above 0"),
        ({"inner_learning_rate": float("nan")}, "above 0"),
        ({"objective": "both"}, "one of reptile, maml.*both"),
        ({"network": dataclasses.replace(SPEC, image_size=7)}, "image_size"),
        ({"network": TEXT_SPEC}, "image_size"),
        ({"data": TextSettings("any.txt", 16)}, "length of windows"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SETTINGS, **wrong)


@pytest.mark.parametrize("settings", [SETTINGS, TEXT_SETTINGS])
def test_settings_come_back_from_their_record(settings):
    assert SequenceSettings.from_dict(dataclasses.asdict(settings)) == settings


def test_a_run_recorded_before_there_were_texts_is_the_same_run_now():
    identity = SETTINGS.identity()
    older = {k: v for k, v in identity.items() if k != "network.text_length"}
    del older["network.num_classes"]
    assert SequenceSettings.complete(older) == identity


def test_where_a_text_lies_is_no_part_of_a_run_and_nothing_of_images_is():
    identity = TEXT_SETTINGS.identity()
    assert SequenceSettings.complete(identity) == identity
    assert [key for key in identity if key.startswith("data.")] == ["data.length"]


@pytest.mark.parametrize("settings", [SETTINGS, TEXT_SETTINGS])
def test_a_numbered_run_is_found_again_by_the_same_settings(tmp_path, settings):
    identity = full_identity(settings, {"data_sha256": "none"}, compiled=False)
    for _ in range(2):
        folder = runs.find_or_number(tmp_path, settings, identity)
        folder.record(settings, identity, {})
        folder.unlock()
    assert [path.name for path in tmp_path.iterdir()] == [f"00001-{settings.name}"]
