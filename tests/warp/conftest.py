"""A tiny run of the redrawing network, at 16×16."""

import functools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import runs, training
from figr_tf.data import datasets, glyphs
from figr_tf.warp import generator as warp_generator
from figr_tf.warp.model import WarpModel
from figr_tf.warp.settings import WarpSettings
from figr_tf.warp.system import WarpSystem
from tests.conftest import glyph_dataset, identity_of

DATA = datasets.DataSettings(image_size=16)


@pytest.fixture(scope="session")
def generator():
    return warp_generator.WarpGenerator(image_size=16, width=8)


@pytest.fixture(scope="session")
def support_ink():
    """[2, 3, 16, 16]: two classes."""
    drawings = np.stack([glyphs.glyph_images(c, 3, 16, seed=0) for c in range(2)])
    return tf.constant(1 - drawings[..., 0] / np.float32(255))


@pytest.fixture(scope="session")
def settings():
    return WarpSettings(
        data=DATA,
        num_meta_steps=7,
        num_tasks=2,
        num_samples=3,
        num_shots=2,
        width=8,
        log_every=2,
        eval_every=5,
        checkpoint_every=3,
    )


@pytest.fixture(scope="session")
def dataset():
    return glyph_dataset(4, 6, 16, num_held_out=1)


def train(settings, dataset, path) -> runs.RunFolder:
    identity = identity_of(settings, dataset)
    folder = runs.at_path(path, settings, identity)
    try:
        folder.record(settings, identity, {"split.json": dataset.split.to_json()})
        training.train(functools.partial(WarpSystem, settings, dataset), settings, folder, identity)
    finally:
        folder.unlock()
    return folder


def weights_of(path: pathlib.Path) -> list[np.ndarray]:
    """Of the generator that a run or a packaged model draws with."""
    return WarpModel(path).generator.get_weights()


@pytest.fixture(scope="session")
def run(settings, dataset, tmp_path_factory):
    return train(settings, dataset, tmp_path_factory.mktemp("runs") / "warp").path
