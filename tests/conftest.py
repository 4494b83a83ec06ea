"""Fixtures on 16×16 images with h = 2 and K = 1–2: networks are built, and steps traced, once per
session.
"""

import collections
import contextlib
import dataclasses
import functools
import os
import pathlib

os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from xdist import scheduler

from figr_tf.classifier.adaptation import InnerLoop
from figr_tf.classifier.networks import NetworkSpec as ClassifierSpec
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.classifier.system import ClassifierSystem
from figr_tf.core import checkpoints, reptile, runs
from figr_tf.core.settings import full_identity
from figr_tf.data import datasets, glyphs, splits
from figr_tf.data.class_images import ClassImages
from figr_tf.gan import adaptation, networks
from figr_tf.gan.settings import Settings
from figr_tf.gan.system import FigrSystem

ROOT = pathlib.Path(__file__).parent.parent


class _Rooms(scheduler.LoadFileScheduling):
    """A file's tests go to one worker, which makes its fixtures once.

    So do all of tests/exporters, since most of them look at the same export, and of tests/warp,
    which look at the same run.
    """

    def _split_scope(self, nodeid):
        room = "/".join(nodeid.split("/")[:2])
        alone = room in ("tests/exporters", "tests/warp")
        return room if alone else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _Rooms(config, log)


def pytest_terminal_summary(terminalreporter):
    """Counts what was skipped by reason, so that a browser that is missing is seen."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(report.longrepr[2] for report in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@functools.cache
def _drawn_once(*form: int) -> np.ndarray:
    drawings = _draw(*form)
    drawings.flags.writeable = False
    return drawings


# Many tests load the same glyphs, and a drawing depends on the arguments alone.
_draw = glyphs.glyph_images
glyphs.glyph_images = lambda class_index, num_drawings, image_size, seed: _drawn_once(
    class_index, num_drawings, image_size, seed
)

TINY = networks.NetworkSpec(image_size=16, hidden=2, latent_dim=8)
# Traced in half of the DCGAN's time and a fifth of the ResNet's. Untrained it draws, not only grey.
LEAN = dataclasses.replace(TINY, architecture="lean", blocks_per_stage=0)


@pytest.fixture(scope="session")
def tiny_networks():
    """Shared and so never to be trained: tests that change variables build their own."""
    return networks.build_networks(LEAN, seed=0)


@pytest.fixture(scope="session")
def tiny_weights(tiny_networks):
    return adaptation.weights_of(tiny_networks)


@pytest.fixture(scope="session")
def tiny_support():
    """[3, 16, 16, 1] in [−1, 1]."""
    return tf.constant(glyphs.glyph_images(0, 3, 16, seed=0) / 127.5 - 1.0, tf.float32)


def glyph_dataset(
    num_classes: int, num_drawings: int, image_size: int, num_held_out: int
) -> datasets.Dataset:
    """Classes glyph0, glyph1 and so on, of which the last are held out."""
    names = [f"glyph{c}" for c in range(num_classes)]
    drawings = [glyphs.glyph_images(c, num_drawings, image_size, 0) for c in range(num_classes)]
    data = ClassImages(np.concatenate(drawings), dict.fromkeys(names, num_drawings))
    return datasets.Dataset(
        data, splits.split_by("test", names, set(names[-num_held_out:]).__contains__)
    )


@pytest.fixture(scope="session")
def tiny_dataset():
    return glyph_dataset(6, 5, 16, num_held_out=2)


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory):
    """Three folders of two glyphs each, and a third drawing of each beside them."""
    folder = tmp_path_factory.mktemp("three")
    for number, name in enumerate("abc"):
        (folder / name).mkdir()
        *support, query = glyphs.glyph_images(number, 3, 40, seed=0)[..., 0]
        for i, image in enumerate(support):
            Image.fromarray(image).save(folder / name / f"{i}.png")
        Image.fromarray(query).save(folder / f"{name}.png")
    return folder


@contextlib.contextmanager
def few_tasks(system):
    """Within, the module of a system reports on two tasks and shows one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system, "_REPORT_TASKS", 2)
        patch.setattr(system, "_SHOWN_TASKS", 1)
        yield


def identity_of(settings, dataset, compiled=False):
    return full_identity(settings, dataset.facts(), compiled)


@pytest.fixture
def tiny_settings():
    return Settings(
        data=datasets.DataSettings(image_size=16),
        network=TINY,
        inner=adaptation.InnerSettings(learning_rate=1e-3),
        num_shots=2,
        num_inner_steps=2,
        meta_learning_rate=1e-3,
        num_meta_steps=6,
        log_every=2,
        eval_every=3,
        checkpoint_every=2,
    )


def record(folder, settings, dataset):
    """Makes a folder a run, as a training does at its start; returns the identity."""
    identity = identity_of(settings, dataset)
    files = {"flags.txt": "", "split.json": dataset.split.to_json()}
    if settings.system == "gan":
        files["network_spec.json"] = settings.network.to_json()
    folder.record(settings, identity, files)
    return identity


def untrained_run(path, settings, dataset):
    """A run of no training at all: initial weights, as a checkpoint of meta-step 12."""
    return _saved_run(path, settings, dataset, FigrSystem(settings, dataset))


def _saved_run(path, settings, dataset, system):
    folder = runs.RunFolder(path)
    identity = record(folder, settings, dataset)
    state = reptile.Reptile(system)
    state.meta_step.assign(12)
    checkpoints.save(folder.checkpoints, state, identity)
    return path


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, tiny_dataset):
    """Of a pair that is not trained."""
    settings = Settings(
        data=datasets.DataSettings(image_size=16),
        network=LEAN,
        inner=adaptation.InnerSettings(learning_rate=1e-3),
        num_inner_steps=2,
    )
    return untrained_run(tmp_path_factory.mktemp("runs") / "run", settings, tiny_dataset)


@pytest.fixture(scope="session")
def classifier_run(tmp_path_factory, tiny_dataset):
    """A classifier of three classes that was never trained, but has second moments."""
    settings = ClassifierSettings(
        data=datasets.DataSettings(image_size=16),
        network=ClassifierSpec(image_size=16, filters=4, num_classes=3),
        inner=InnerLoop(learning_rate=1e-2, batch_size=4, num_steps=2),
        num_shots=2,
        train_shots=3,
        eval_batch_size=3,
        eval_inner_steps=4,
        num_meta_steps=12,
    )
    system = ClassifierSystem(settings, tiny_dataset)
    moments, count = system.carried
    moments.assign(tf.random.stateless_uniform(moments.shape, [1, 2], 0.0, 1e-2))
    count.assign(60.0)
    path = tmp_path_factory.mktemp("runs") / "classifier"
    return _saved_run(path, settings, tiny_dataset, system)
