"""The model that ships: found by name, whole, and better than copying on drawings that are not Omniglot's."""

import pathlib

import numpy as np
import pytest

import figr_tf
from figr_tf import datasets, glyphs, models
from figr_tf.errors import DataError, RunError
from figr_tf.evaluation import features
from figr_tf.warp.model import WarpSettings
from tests.conftest import ROOT

NUM_CLASSES, NUM_SHOTS, NUM_SAMPLES = 20, 4, 32


@pytest.fixture(scope="module")
def shipped():
    return figr_tf.load("omniglot-32")


def test_every_shipped_model_is_whole_and_small(shipped):
    assert models.shipped_names() == ["omniglot-32"]
    size = sum(path.stat().st_size for path in models.find("omniglot-32").iterdir())
    assert size < 2e6


def test_its_flagfile_and_the_settings_as_they_are_today_are_those_it_was_trained_with(shipped):
    lines = (ROOT / "omniglot-32.flags").read_text().splitlines()
    given = dict(line.removeprefix("--").split("=") for line in lines if line.startswith("--"))
    data = datasets.DataSettings(given.pop("dataset"), split=given.pop("split"))
    assert WarpSettings(data, num_steps=int(given.pop("num_steps"))) == shipped.settings
    assert not given


def test_a_folder_of_the_same_name_is_reached_by_its_path_and_the_name_stays_the_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "omniglot-32").mkdir()
    assert models.find("omniglot-32").parent == pathlib.Path(models.__file__).parent / "pretrained"
    assert models.find("./omniglot-32") == pathlib.Path("omniglot-32")
    with pytest.raises(RunError, match="not a run folder"):
        figr_tf.load("./omniglot-32")


def test_samples_of_glyphs_are_recognised_and_more_various_than_copies(shipped):
    """By the referee's network, prototypes from drawings that the model has not seen.

    Skill over copying is for Omniglot to show: drawings of a glyph differ less than those of people.
    """
    embed = features.Critic().embed
    drawings = np.stack([glyphs.glyph_images(index, 16, 32, seed=11) for index in range(NUM_CLASSES)])
    samples = np.stack([shipped.generate(d[:NUM_SHOTS], NUM_SAMPLES, seed=i) for i, d in enumerate(drawings)])
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
    # Redrawn and not copied: every sample differs from every drawing by more than a shift of a grey value or two.
    nearest = np.abs(images[:, None].astype(int) - support[None]).mean((2, 3, 4)).min(1)
    assert (nearest > 2).all()


def test_numbers_of_inner_steps_and_empty_folders_are_refused(shipped, tmp_path):
    support = shipped.read_support(ROOT / "examples" / "key")
    with pytest.raises(ValueError, match="no inner loop"):
        shipped.generate(support, num_inner_steps=10)
    with pytest.raises(DataError, match="no images in this folder"):
        shipped.read_support(tmp_path)
