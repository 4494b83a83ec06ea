"""4×4 images, windows of ten characters, eight units: a sequence is 16 steps at most."""

import dataclasses

import numpy as np
import pytest

from figr_tf.data import datasets
from figr_tf.sequences import images
from figr_tf.sequences.networks import NetworkSpec
from figr_tf.sequences.settings import SequenceSettings
from figr_tf.sequences.system import SequenceSystem
from figr_tf.sequences.text import TextSettings

SIZE = 4
SPEC = NetworkSpec("gated", SIZE, width=8, num_blocks=2)
LENGTH = 10
TEXT_SPEC = NetworkSpec("gated", 0, width=8, num_blocks=1, text_length=LENGTH, num_classes=5)
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
TEXT_SETTINGS = dataclasses.replace(
    SETTINGS, data=TextSettings("any.txt", LENGTH), network=TEXT_SPEC
)


def random_weights(spec=SPEC, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in spec.shapes().items()
    }


def random_images(count, seed=0):
    return (np.random.default_rng(seed).random((count, SIZE**2)) < 0.3).astype(np.float32)


def random_sequences(spec, count, seed=0):
    """Classes, each with the same probability."""
    random = np.random.default_rng(seed).integers(spec.num_classes, size=(count, spec.length))
    return random.astype(np.float32)


@pytest.fixture(scope="session")
def sequences():
    every = random_images(60).astype(np.uint8)
    return images.of(every[:50], every[50:], {"data_sha256": "none"}, {})


@pytest.fixture(scope="session")
def build(sequences):
    """A system of `SETTINGS` with changes."""

    def build_system(**changes) -> SequenceSystem:
        return SequenceSystem(dataclasses.replace(SETTINGS, **changes), sequences)

    return build_system
