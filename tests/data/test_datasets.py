"""Folders of one's own, icons and glyphs; and splits, caches and refusals of any data."""

import dataclasses
import json
import os
import pathlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data import datasets, loaders
from figr_tf.data.datasets import load_dataset
from tests.data.trees import png


def _folder_data(tmp_path, counts):
    for name, count in counts.items():
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "own" / name / f"{i}.png").write_bytes(png(i))
    return str(tmp_path / "own")


def test_folder_leaves_out_small_classes_by_name(tmp_path, settings, caplog):
    data_dir = _folder_data(tmp_path, {"cat": 4, "dog": 4, "newt": 3})
    dataset = load_dataset(dataclasses.replace(settings, dataset="folder", data_dir=data_dir), 4)
    assert sorted(dataset.split.training + dataset.split.held_out) == ["cat", "dog"]
    assert "fewer than 4 images: newt" in caplog.text


def test_a_class_held_out_of_tasks_of_few_drawings_is_held_out_of_those_of_many(tmp_path, settings):
    counts = {f"c{i:02d}": 2 + (i % 4 > 0) for i in range(30)}
    chosen = dataclasses.replace(
        settings, dataset="folder", data_dir=_folder_data(tmp_path, counts)
    )
    whole, split = (load_dataset(chosen, num_shots).split for num_shots in (2, 3))
    for side in ("training", "held_out"):
        large = [name for name in getattr(whole, side) if counts[name] >= 3]
        assert list(getattr(split, side)) == large


def test_of_a_handful_of_classes_the_large_ones_are_split_if_the_small_one_was_held_out(
    tmp_path, settings
):
    counts = dict.fromkeys(("ant", "bee", "cat", "dog"), 4)
    chosen = dataclasses.replace(
        settings, dataset="folder", data_dir=_folder_data(tmp_path, counts)
    )
    (held_out,) = load_dataset(chosen, 4).split.held_out
    (tmp_path / "own" / held_out / "0.png").unlink()
    split = load_dataset(chosen, 4).split
    assert len(split.held_out) == 1
    assert len(split.training) == 2
    assert held_out not in split.held_out


def _icons_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("SOURCES.txt", "a: A, MIT, somebody")
        for name in ("ant", "bee", "cat"):
            for i in range(3):
                archive.writestr(f"Data/{name}/a-{name}-{i}.png", png(i))
    return path


@pytest.mark.parametrize("form", ["file", "its folder", "unpacked"])
def test_icons_are_the_classes_below_data_in_whatever_form(tmp_path, settings, form):
    file = _icons_zip(tmp_path / "icons.zip")
    if form == "unpacked":
        zipfile.ZipFile(file).extractall(tmp_path / "out")
    place = {"file": file, "its folder": tmp_path, "unpacked": tmp_path / "out"}[form]
    dataset = load_dataset(dataclasses.replace(settings, dataset="icons", data_dir=str(place)), 3)
    assert dataset.data.counts == {"ant": 3, "bee": 3, "cat": 3}
    assert dataset.split.name == "random"


def test_icons_that_are_not_there_say_how_they_are_made(tmp_path, settings):
    chosen = dataclasses.replace(settings, dataset="icons")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.zip").write_bytes(b"no zip")
    for place in (None, tmp_path / "empty", tmp_path / "other.zip"):
        with pytest.raises(DataError, match=r"python -m figr_tf\.icons") as caught:
            load_dataset(dataclasses.replace(chosen, data_dir=str(place) if place else None), 3)
        assert "\n" not in str(caught.value)


def test_a_class_below_train_and_below_val_is_refused_since_it_would_be_two(tmp_path, settings):
    classes = {"train/cat": 2, "train/dog": 2, "val/cat": 2, "val/newt": 2}
    chosen = dataclasses.replace(
        settings, dataset="folder", data_dir=_folder_data(tmp_path, classes)
    )
    with pytest.raises(
        DataError, match=r"more than once \(train/cat and val/cat; 1 in all\).*one of the halves"
    ):
        load_dataset(chosen, 2)
    one_side = dataclasses.replace(chosen, data_dir=str(tmp_path / "own/train"))
    assert set(load_dataset(one_side, 2).data.counts) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("paper", "ink", "warned"), [(0, 255, True), (60, 220, True), (255, 0, False)]
)
def test_light_ink_on_dark_paper_is_noticed_in_training_data(
    tmp_path, settings, caplog, paper, ink, warned
):
    drawing = np.full((20, 20), paper, np.uint8)
    drawing[9:11, 3:17] = ink
    data_dir = pathlib.Path(_folder_data(tmp_path, {"cat": 2, "dog": 2}))
    for path in data_dir.rglob("*.png"):
        Image.fromarray(drawing).save(path)
    chosen = dataclasses.replace(settings, dataset="folder", data_dir=str(data_dir))
    load_dataset(chosen, 2)
    assert ("give --ink=light" in caplog.text) == warned
    caplog.clear()
    load_dataset(dataclasses.replace(chosen, ink="light"), 2)
    assert ("give --ink=dark" in caplog.text) != warned


def test_held_out_classes_by_name(tmp_path, settings):
    data_dir = _folder_data(tmp_path, {"cat": 2, "dog": 2, "newt": 2})
    chosen = dataclasses.replace(
        settings, dataset="folder", data_dir=data_dir, held_out_classes=("dog",)
    )
    assert load_dataset(chosen, 2).split.held_out == ("dog",)
    with pytest.raises(DataError, match="'dogg' is not among the 3 classes"):
        load_dataset(dataclasses.replace(chosen, held_out_classes=("dogg",)), 2)


def test_held_out_classes_that_are_all_too_small_are_named(tmp_path, settings):
    data_dir = _folder_data(tmp_path, {"cat": 4, "dog": 4, "eel": 1, "newt": 4})
    chosen = dataclasses.replace(
        settings, dataset="folder", data_dir=data_dir, held_out_classes=("eel",)
    )
    with pytest.raises(DataError, match=r"--held_out_classes=eel: none of them has 2 images"):
        load_dataset(chosen, 2)
    both = dataclasses.replace(chosen, held_out_classes=("dog", "eel"))
    assert load_dataset(both, 2).split.held_out == ("dog",)


def test_folder_errors_name_the_folder(tmp_path, settings):
    chosen = dataclasses.replace(settings, dataset="folder")
    with pytest.raises(DataError, match="needs --data_dir"):
        load_dataset(chosen, 2)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        load_dataset(dataclasses.replace(chosen, data_dir=str(tmp_path / "nowhere")), 2)
    flat = _folder_data(tmp_path, {"cat": 4})
    with pytest.raises(
        DataError, match=r"own: 1 of 1 classes have 2 images or more; at least 2 are needed"
    ):
        load_dataset(dataclasses.replace(chosen, data_dir=flat), 2)
    (tmp_path / "hollow").mkdir()
    with pytest.raises(DataError, match="hollow: no usable image"):
        load_dataset(dataclasses.replace(chosen, data_dir=str(tmp_path / "hollow")), 2)


@pytest.mark.parametrize(
    ("fields", "received"),
    [
        ({"dataset": "glyphs", "split": "unseen-alphabets"}, "split=unseen-alphabets"),
        ({"dataset": "folder", "split": "paper"}, "split=paper"),
        ({"dataset": "omniglot", "ink": "light"}, "dataset=omniglot"),
        ({"dataset": "folder", "ink": "light", "channels": 3}, "channels=3"),
        ({"dataset": "glyphs", "data_dir": "x"}, "data_dir=x"),
    ],
)
def test_impossible_combinations_are_refused_before_anything_is_loaded(settings, fields, received):
    with pytest.raises(ValueError, match=f"Received: .*{received}"):
        dataclasses.replace(settings, **fields)


def test_glyphs_need_nothing_and_come_in_colour_if_asked(settings):
    dataset = load_dataset(dataclasses.replace(settings, dataset="glyphs", channels=3), 4)
    assert dataset.data.images.shape == (8000, 16, 16, 3)
    assert (len(dataset.split.training), len(dataset.split.held_out)) == (360, 40)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("paper", (1603, 20)),  # Of FIGR, table 1.
        ("random-1200", (1200, 423)),  # Of openai/supervised-reptile.
    ],
)
def test_random_splits_of_omniglot_have_the_published_sizes(settings, monkeypatch, name, sizes):
    counts = {f"alphabet/character{i}": 20 for i in range(1623)}
    data = datasets.ClassImages(np.zeros((0, 16, 16, 1), np.uint8), counts)
    monkeypatch.setattr(loaders, "omniglot", lambda _: (set(), data))
    chosen = dataclasses.replace(settings, dataset="omniglot", split=name)
    split = load_dataset(chosen, 4).split
    assert (len(split.training), len(split.held_out)) == sizes
    assert (
        load_dataset(dataclasses.replace(chosen, split_seed=1), 4).split.digest() != split.digest()
    )
    assert json.loads(split.to_json())["sha256"] == split.digest()


def test_another_spelling_of_the_folder_takes_the_same_cache(tmp_path, settings, monkeypatch):
    root = _folder_data(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in (root, "own", "./own/../own/", "~/own", "link"):
        load_dataset(dataclasses.replace(settings, dataset="folder", data_dir=spelling), 2)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_without_a_home_folder_the_cache_is_where_it_is_told_to_be(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    own = dataclasses.replace(
        settings, dataset="folder", data_dir=_folder_data(tmp_path, {"cat": 3, "dog": 3})
    )
    assert load_dataset(own, 2).data.counts == {"cat": 3, "dog": 3}
    with pytest.raises(DataError, match="no home folder to keep decoded images in"):
        load_dataset(dataclasses.replace(own, cache_dir=None), 2)
