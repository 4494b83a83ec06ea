"""8×8 drawings and eight planes: a meta-step takes milliseconds."""

import dataclasses

import numpy as np
import pytest

from figr_tf.data import datasets
from figr_tf.pixelcnn import drawings, networks, system
from figr_tf.pixelcnn.prediction import Predictor
from figr_tf.pixelcnn.settings import PixelCnnSettings
from figr_tf.pixelcnn.system import PixelCnnSystem
from tests.conftest import few_tasks, glyph_dataset

SIZE = 8
SPEC = networks.NetworkSpec(SIZE, planes=8, num_layers=2)
SETTINGS = PixelCnnSettings(
    data=datasets.DataSettings(image_size=drawings.decoded_size(SIZE)),
    network=SPEC,
    num_shots=2,
    train_shots=5,
    num_inner_steps=2,
    batch_size=3,
    eval_inner_steps=3,
    meta_average=0.9,
    meta_batch_size=2,
    num_meta_steps=6,
    log_every=2,
    eval_every=6,
    checkpoint_every=3,
)


def random_weights(spec, seed=0):
    """No weight is 0, so that nothing is without an influence by chance."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }


def random_drawings(count, size=SIZE, seed=0):
    return (np.random.default_rng(seed).random((count, size, size)) < 0.3).astype(np.float32)


@pytest.fixture(scope="package", autouse=True)
def _few_tasks():
    """A report on two tasks and a picture of one: they are the same code as of 40 and 4."""
    with few_tasks(system):
        yield


@pytest.fixture(scope="session")
def dataset():
    return glyph_dataset(10, 6, SETTINGS.data.image_size, num_held_out=4)


@pytest.fixture(scope="session")
def predictors():
    """By condition; a graph is built when it is first asked for."""
    return {
        condition: Predictor(dataclasses.replace(SPEC, condition=condition))
        for condition in networks.CONDITIONS
    }


@pytest.fixture(scope="session")
def build(dataset):
    """A system of `SETTINGS` with changes."""

    def build_system(start=None, **changes) -> PixelCnnSystem:
        return PixelCnnSystem(dataclasses.replace(SETTINGS, **changes), dataset, start)

    return build_system
