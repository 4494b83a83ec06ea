"""The models that ship: found by name and whole. The one that redraws is better than copying on
drawings that are not Omniglot's."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import figr_tf
from figr_tf import models
from figr_tf.classifier.model import ClassifierModel
from figr_tf.core import runs, trained
from figr_tf.core.errors import DataError, RunError
from figr_tf.core.random import stateless_seed
from figr_tf.core.settings import full_identity
from figr_tf.data import datasets, glyphs
from figr_tf.evaluation import features
from figr_tf.gan.generation import FewShotModel
from figr_tf.gan.settings import Settings
from figr_tf.sine.system import SineSettings
from figr_tf.warp.model import WarpModel
from figr_tf.warp.settings import WarpSettings
from tests.classifier.test_flagfiles import settings_of as flags_of_classifier
from tests.conftest import ROOT

NUM_CLASSES, NUM_SHOTS, NUM_SAMPLES = 20, 4, 32


@pytest.fixture(scope="module")
def shipped():
    return figr_tf.load(models.REDRAWING)


def test_what_ships_is_a_model_by_default_and_the_network_that_redraws():
    assert models.shipped_names() == ["omniglot-32", models.REDRAWING, models.CLASSIFIER]
    assert models.redraw_sha256() == figr_tf.load(models.REDRAWING).weights_sha256


@pytest.mark.parametrize("name", models.shipped_names())
def test_every_shipped_model_is_whole_and_small(name):
    folder = models.find(name)
    assert len(trained.weights_sha256(folder)) == 64
    assert models.load_any(name).meta_step > 0
    assert {"MODEL_CARD.md", "evaluation.json"} <= {path.name for path in folder.iterdir()}
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size < 2e6


@pytest.mark.parametrize("name", models.shipped_names())
def test_the_evaluation_that_ships_with_a_model_is_of_its_very_weights(name):
    report = json.loads((models.find(name) / "evaluation.json").read_text())
    model = models.load_any(name)
    # It names what it judged by its weights, or by the settings and age of the run.
    own = {"weights_sha256": getattr(model, "weights_sha256", None), "meta_step": model.meta_step}
    about = report["judged"] if "judged" in report else report["runs"][name]
    judged = {key: about[key] for key in own if key in about}
    assert judged
    assert judged == {key: own[key] for key in judged}


def test_its_flagfile_and_the_settings_as_they_are_today_are_those_it_was_trained_with(shipped):
    lines = (ROOT / "flags/omniglot-32-redraw.flags").read_text().splitlines()
    given = dict(line.removeprefix("--").split("=") for line in lines if line.startswith("--"))
    data = datasets.DataSettings(given.pop("dataset"), split=given.pop("split"))
    # Where its images were kept is the only thing that is the host's.
    data = dataclasses.replace(data, cache_dir=shipped.settings.data.cache_dir)
    settings = WarpSettings(data=data, num_meta_steps=int(given.pop("num_steps")))
    assert settings == shipped.settings
    assert not given


def test_the_flagfile_of_the_classifier_is_what_it_was_trained_with():
    trained_with = ClassifierModel(models.find(models.CLASSIFIER)).settings
    settings = flags_of_classifier("omniglot-3way")
    data = dataclasses.replace(settings.data, cache_dir=trained_with.data.cache_dir, data_dir=None)
    assert dataclasses.replace(settings, data=data) == trained_with


def test_the_shipped_classifier_tells_new_drawings_of_the_examples_apart():
    """Drawings that are no Omniglot: three examples, one drawing of each shown, the rest asked."""
    model = ClassifierModel(models.find(models.CLASSIFIER))
    drawings = [model.read_images(ROOT / "examples" / name) for name in ("fish", "key", "umbrella")]
    support = np.stack([images[:1] for images in drawings])
    right = [
        model.classify(support, images[1:]).argmax(-1) == i for i, images in enumerate(drawings)
    ]
    assert np.mean(np.concatenate(right)) > 0.6  # A third by chance.


def test_a_folder_of_the_same_name_is_reached_by_its_path_and_the_name_stays_the_shipped_model(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "omniglot-32").mkdir()
    assert models.find("omniglot-32").parent == pathlib.Path(models.__file__).parent / "pretrained"
    assert models.find("./omniglot-32") == pathlib.Path("omniglot-32")
    with pytest.raises(RunError, match="not a run folder"):
        figr_tf.load("./omniglot-32")


def test_a_run_is_loaded_by_the_system_that_it_is_of(run_folder, shipped):
    assert isinstance(figr_tf.load(run_folder), FewShotModel)
    assert isinstance(shipped, WarpModel)
    assert (models.system_of(run_folder), models.system_of(shipped.folder)) == ("gan", "warp")


def test_a_run_of_a_system_that_draws_no_images_is_refused_by_its_name(tmp_path):
    settings = SineSettings()
    runs.RunFolder(tmp_path).record(settings, full_identity(settings, {}, False), {})
    with pytest.raises(RunError, match="is a run of 'sine', which draws no images"):
        figr_tf.load(tmp_path)


def test_a_run_that_redraws_takes_the_network_that_ships_and_refuses_any_other():
    settings = Settings(augment="redraw", augment_count=5, redraw_sha256=models.redraw_sha256())
    support = tf.constant(glyphs.glyph_images(0, 3, 32, seed=0) / 127.5 - 1.0, tf.float32)
    redrawn = models.augmentation_of(settings).vary(support, stateless_seed(3))
    assert redrawn.shape == (5, 32, 32, 1)
    redrawing = figr_tf.load(models.REDRAWING)
    unit = redrawing.redraw_from((support + 1.0) / 2.0, 5, stateless_seed(3))
    np.testing.assert_allclose(redrawn, 2.0 * unit - 1.0, atol=1e-6)
    other = dataclasses.replace(settings, redraw_sha256="0" * 64)
    with pytest.raises(RunError, match=f"of sha256 {'0' * 64}; the one that ships has"):
        models.augmentation_of(other)


@pytest.mark.slow
def test_a_packaged_run_of_figr_draws_what_the_run_draws(run_folder, tmp_path):
    model = figr_tf.load(run_folder)
    support = glyphs.glyph_images(7, 3, 16, seed=0)
    drawn = model.generate(support, 5, seed=2)
    trained.package(runs.RunFolder(run_folder), tmp_path / "model", model.meta_weights())
    packaged = figr_tf.load(tmp_path / "model")
    assert packaged.meta_step == model.meta_step == 12
    np.testing.assert_array_equal(packaged.generate(support, 5, seed=2), drawn)


def test_samples_of_glyphs_are_recognised_and_more_various_than_copies(shipped):
    """By the referee's network, prototypes from drawings that the model has not seen.

    Skill over copying is for Omniglot to show: drawings of a glyph differ less than those of
    people.
    """
    embed = features.Embedding().embed
    drawings = np.stack(
        [glyphs.glyph_images(index, 16, 32, seed=11) for index in range(NUM_CLASSES)]
    )
    samples = np.stack(
        [shipped.generate(d[:NUM_SHOTS], NUM_SAMPLES, seed=i) for i, d in enumerate(drawings)]
    )
    prototypes = np.stack([embed(d[NUM_SHOTS:]).mean(0) for d in drawings])
    embedded = np.stack([embed(s) for s in samples])
    nearest = ((embedded[:, :, None] - prototypes) ** 2).sum(-1).argmin(-1)
    assert (nearest == np.arange(NUM_CLASSES)[:, None]).mean() > 0.9
    spread = embedded.std(1).mean()
    assert spread > 1.2 * np.mean([embed(d[:NUM_SHOTS]).std(0).mean() for d in drawings])


@pytest.mark.parametrize("name", ["umbrella", "key", "fish", "sailing-boat"])
def test_every_example_is_read_and_redrawn_in_black_on_white(shipped, name):
    support = shipped.read_support(ROOT / "examples" / name)
    images = shipped.generate(support, 16, seed=3)
    assert (support.shape, images.shape) == ((4, 32, 32, 1), (16, 32, 32, 1))
    assert np.median(images) == 255
    assert (images.min((1, 2, 3)) < 64).all()
    # Redrawn and not copied: every sample differs from every drawing by more than a shift of a grey
    # value or two.
    nearest = np.abs(images[:, None].astype(int) - support[None]).mean((2, 3, 4)).min(1)
    assert (nearest > 2).all()


def test_numbers_of_inner_steps_and_empty_folders_are_refused(shipped, tmp_path):
    support = shipped.read_support(ROOT / "examples" / "key")
    with pytest.raises(ValueError, match="no inner loop"):
        shipped.generate(support, num_inner_steps=10)
    with pytest.raises(DataError, match="no images in this folder"):
        shipped.read_support(tmp_path)
