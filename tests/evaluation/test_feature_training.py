"""The feature network of any data: trained on a folder of glyphs with two episodes."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data import datasets, glyphs
from figr_tf.evaluation import feature_training, features
from figr_tf.evaluation.feature_training import Recipe

pytestmark = pytest.mark.whole

RECIPE = Recipe(episodes=2)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Twelve glyph classes of 6 to 8 drawings and one of five, which is too few."""
    root = tmp_path_factory.mktemp("sketches")
    for c in range(13):
        folder = root / "data" / f"glyph{c:02d}"
        folder.mkdir(parents=True)
        for i, image in enumerate(glyphs.glyph_images(c, 5 if c == 12 else 6 + c % 3, 32, seed=0)):
            Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    return datasets.DataSettings("folder", str(root / "data"), cache_dir=str(root / "cache"))


@pytest.fixture(scope="module")
def network(settings):
    return feature_training.of_data(settings, RECIPE)


def test_a_network_is_trained_once_and_kept(settings, network, capsys):
    again = feature_training.of_data(settings, RECIPE)
    assert "training" not in capsys.readouterr().out
    assert again.sha256 == network.sha256
    images = glyphs.glyph_images(3, 4, 32, seed=1)
    np.testing.assert_array_equal(again.embed(images), network.embed(images))
    assert network.trained_on == "11 training classes of folder"


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_damaged_one_is_trained_anew(settings, network, suffix, capsys):
    (path,) = (pathlib.Path(settings.cache_dir) / "features").glob(f"*{suffix}")
    path.write_bytes(path.read_bytes()[:-20])
    assert feature_training.of_data(settings, RECIPE).sha256 == network.sha256
    assert "training the feature network" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_network_and_another_seed_another(settings, network, tmp_path):
    dataset = feature_training.data_of(settings)
    same, other = (
        feature_training.train_to(tmp_path / f"{seed}.npz", settings, dataset, Recipe(2, seed))
        for seed in (0, 1)
    )
    assert same["sha256"] == network.sha256 != other["sha256"]
    # One held-out class, which is told from no other.
    assert same["accuracy_held_out"] == {}


def test_held_out_classes_and_classes_too_small_are_not_trained_on(settings, monkeypatch):
    seen = []
    monkeypatch.setattr(
        feature_training, "_training_step", lambda model: lambda images, rate: seen.append(images)
    )
    dataset = feature_training.data_of(settings)
    feature_training.train(dataset.data, dataset.split.training, RECIPE)
    assert "glyph12" not in dataset.split.training + dataset.split.held_out
    held_out = dataset.images_of(dataset.split.held_out)
    forbidden = {
        np.rot90(mask, turns).tobytes()
        for drawings in held_out.values()
        for mask in features.ink_mask(drawings)
        for turns in range(4)
    }
    assert len(seen) == 2
    assert seen[0].shape == (4 * 11 * 6, 32, 32, 1)  # Eleven classes, four ways up: below 60.
    assert not forbidden & {mask.numpy().tobytes() for images in seen for mask in images}


def test_data_of_another_size_or_colour_is_judged_by_the_same_network(settings, network):
    coloured = dataclasses.replace(settings, image_size=64, channels=3)
    assert feature_training.of_data(coloured, RECIPE).sha256 == network.sha256


def test_a_file_that_was_altered_or_has_no_record_is_one_line(settings, tmp_path):
    path = tmp_path / "own.npz"
    with pytest.raises(DataError, match=r"own\.json: no record .* Train it again"):
        feature_training.read(path)
    np.savez(path, kernel0=np.zeros(1))
    record = {"sha256": "0" * 64, "training_classes": 3, "dataset": "folder"}
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"own\.npz: sha256 \w{12} is not 0{12}.* Train it again"):
        feature_training.read(path)


def test_a_network_that_was_trained_on_what_it_is_to_judge_is_refused(settings, network):
    (path,) = (pathlib.Path(settings.cache_dir) / "features").glob("*.npz")
    dataset = feature_training.data_of(settings)
    assert feature_training.choose(str(path), settings, dataset).trained_on.startswith("11 ")
    own = dataset.split
    turned = dataset._replace(split=dataclasses.replace(own, held_out=own.training[:2]))
    with pytest.raises(DataError, match=f"trained on 2 of the held-out.*{own.training[0]}"):
        feature_training.choose(str(path), settings, turned)


def test_classes_too_small_to_train_on_do_not_count(settings, tiny_dataset, monkeypatch):
    """The network could not be trained, whatever their number."""
    monkeypatch.setattr(feature_training, "LEAST_CLASSES", 2)
    monkeypatch.setattr(feature_training, "of_data", lambda settings: "trained")
    data, chosen = tiny_dataset.data, []
    for count in (5, 6):
        sized = data._replace(counts=dict.fromkeys(data.counts, count))
        chosen.append(feature_training.choose(None, settings, tiny_dataset._replace(data=sized)))
    assert chosen[0].sha256 == features.EMBEDDING_SHA256
    assert chosen[1] == "trained"


def test_the_network_that_ships_judges_omniglot_and_data_of_few_classes(settings, tiny_dataset):
    for data in (settings, datasets.DataSettings("omniglot")):
        chosen = feature_training.choose(None, data, tiny_dataset)
        assert chosen.sha256 == features.EMBEDDING_SHA256
    assert feature_training.choose("omniglot", settings, tiny_dataset).sha256 == chosen.sha256
