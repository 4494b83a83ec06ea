"""FIGR's own part of a training: its settings as an identity, and XLA. Whole runs: tests/e2e."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import runs, training
from figr_tf.core.errors import RunError
from figr_tf.data.datasets import DataSettings
from figr_tf.gan.adaptation import InnerSettings
from figr_tf.gan.settings import Settings
from figr_tf.gan.system import FigrSystem
from tests.conftest import LEAN, identity_of, record


@pytest.fixture(scope="module")
def settings():
    return Settings(
        data=DataSettings(image_size=16),
        network=LEAN,
        num_shots=2,
        num_inner_steps=2,
        num_meta_steps=7,
    )


def _trainer(settings, dataset, compiled):
    build = functools.partial(FigrSystem, settings, dataset, compiled)
    return training.Trainer(build, settings, compiled)


def _identity_error(path, settings, dataset) -> str:
    with pytest.raises(RunError) as caught:
        runs.at_path(path, settings, identity_of(settings, dataset))
    return str(caught.value)


def test_other_settings_another_split_and_other_pictures_are_refused_naming_both(
    settings, tiny_dataset, tmp_path
):
    data, split = tiny_dataset
    run = tmp_path / "run"
    folder = runs.at_path(run, settings, identity_of(settings, tiny_dataset))
    record(folder, settings, tiny_dataset)
    message = _identity_error(run, dataclasses.replace(settings, num_shots=3), tiny_dataset)
    assert "was trained with num_shots=2, this command has num_shots=3" in message
    smaller = dataclasses.replace(split, training=split.training[1:])
    message = _identity_error(run, settings, tiny_dataset._replace(split=smaller))
    assert "split=test (4 + 2 classes" in message
    assert "split=test (3 + 2 classes" in message
    changed = data.images.copy()
    changed[3, 5, 5] ^= 1  # one pixel of one drawing, the same names and counts
    assert "data_sha256=" in _identity_error(
        run, settings, tiny_dataset._replace(data=data._replace(images=changed))
    )


@pytest.mark.parametrize(
    ("wish", "device", "compiled"),
    [
        ("auto", "CPU", False),
        ("auto", "NVIDIA H200", True),
        ("on", "CPU", True),
        ("off", "NVIDIA H200", False),
    ],
)
def test_xla_is_for_gpus_unless_told_otherwise(
    settings, tiny_dataset, monkeypatch, wish, device, compiled
):
    wishes = dataclasses.replace(settings, jit_compile=wish)
    assert wishes.is_compiled(device) is compiled
    seen = []

    def function(f, *_, jit_compile=None, **__):
        seen.append(jit_compile)

    monkeypatch.setattr(tf, "function", function)
    _trainer(wishes, tiny_dataset, compiled)
    # The meta-step and the pictures; the parts that pictures are made of leave it to these.
    assert [wish for wish in seen if wish is not None] == [compiled, compiled]


@pytest.mark.slow
def test_compiled_with_xla_too_several_meta_steps_a_call_are_those_of_one_a_call(
    settings, tiny_dataset
):
    quick = dataclasses.replace(
        settings, num_inner_steps=1, inner=InnerSettings(gradient_penalty_weight=0.0)
    )
    trainers = [
        _trainer(dataclasses.replace(quick, meta_steps_per_call=most), tiny_dataset, compiled=True)
        for most in (1, 3)
    ]
    one_by_one = [
        trainers[0].take_meta_steps(1).values["discriminator_loss"].numpy()[0] for _ in range(2)
    ]
    together = trainers[1].take_meta_steps(2)
    np.testing.assert_array_equal(together.values["discriminator_loss"], one_by_one)
    for a, b in zip(*(t.reptile.meta_weights["generator"] for t in trainers), strict=True):
        np.testing.assert_array_equal(a, b)
