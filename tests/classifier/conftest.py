"""14×14 glyphs and eight filters: a meta-step takes milliseconds."""

import dataclasses

import pytest

from figr_tf.classifier import system
from figr_tf.classifier.adaptation import InnerLoop
from figr_tf.classifier.networks import NetworkSpec
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.classifier.system import ClassifierSystem
from figr_tf.data import datasets
from tests.conftest import few_tasks, glyph_dataset

SIZE = 14
SETTINGS = ClassifierSettings(
    data=datasets.DataSettings(image_size=SIZE),
    network=NetworkSpec(image_size=SIZE, filters=8, num_classes=3),
    inner=InnerLoop(batch_size=4, num_steps=3),
    num_shots=2,
    train_shots=4,
    eval_batch_size=3,
    eval_inner_steps=4,
    meta_learning_rate=1.0,
    anneal_meta_learning_rate=True,
    meta_batch_size=2,
    num_meta_steps=6,
    log_every=2,
    eval_every=6,
    checkpoint_every=3,
)


@pytest.fixture(scope="package", autouse=True)
def _few_tasks():
    """A report on two tasks and a picture of one: they are the same code as of 100 and 4."""
    with few_tasks(system):
        yield


@pytest.fixture(scope="session")
def dataset():
    return glyph_dataset(10, 6, SIZE, num_held_out=4)


@pytest.fixture(scope="session")
def build(dataset):
    """A system of `SETTINGS` with changes."""

    def build_system(**changes) -> ClassifierSystem:
        return ClassifierSystem(dataclasses.replace(SETTINGS, **changes), dataset)

    return build_system
