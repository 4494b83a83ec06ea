"""4×4 images and eight units: an image is 16 steps."""

import dataclasses

import numpy as np
import pytest

from figr_tf.data import datasets
from figr_tf.sequences.models import NetworkSpec
from figr_tf.sequences.settings import SequenceSettings
from figr_tf.sequences.system import Sequences, SequenceSystem

SIZE = 4
SPEC = NetworkSpec("gated", SIZE, width=8, num_blocks=2)
SETTINGS = SequenceSettings(
    data=datasets.DataSettings(image_size=SIZE),
    network=SPEC,
    num_sequences=3,
    inner_learning_rate=0.05,
    meta_average=0.9,
    num_meta_steps=6,
    log_every=2,
    eval_every=6,
    checkpoint_every=3,
    meta_steps_per_call=1,
)


def random_weights(spec=SPEC, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }


def random_images(count, seed=0):
    return (np.random.default_rng(seed).random((count, SIZE**2)) < 0.3).astype(np.float32)


@pytest.fixture(scope="session")
def sequences():
    images = random_images(60).astype(np.uint8)
    return Sequences(images[:50], images[50:], {"data_sha256": "none"})


@pytest.fixture(scope="session")
def build(sequences):
    """A system of `SETTINGS` with changes."""

    def build_system(**changes) -> SequenceSystem:
        return SequenceSystem(dataclasses.replace(SETTINGS, **changes), sequences)

    return build_system
