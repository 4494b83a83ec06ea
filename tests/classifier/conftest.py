"""14×14 glyphs and eight filters: a meta-step takes milliseconds."""

import dataclasses

import numpy as np
import pytest

from figr_tf.classifier.adaptation import InnerLoop
from figr_tf.classifier.models import NetworkSpec
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.classifier.system import ClassifierSystem
from figr_tf.data import datasets, glyphs, splits
from figr_tf.data.class_images import ClassImages

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


@pytest.fixture(scope="session")
def dataset():
    """Ten glyph classes of six drawings, four held out."""
    names = [f"glyph{c}" for c in range(10)]
    images = np.concatenate([glyphs.glyph_images(c, 6, SIZE, seed=0) for c in range(10)])
    split = splits.split_by("test", names, lambda name: name >= "glyph6")
    return datasets.Dataset(ClassImages(images, dict.fromkeys(names, 6)), split)


@pytest.fixture(scope="session")
def build(dataset):
    """A system of `SETTINGS` with changes."""

    def build_system(**changes) -> ClassifierSystem:
        return ClassifierSystem(dataclasses.replace(SETTINGS, **changes), dataset)

    return build_system
