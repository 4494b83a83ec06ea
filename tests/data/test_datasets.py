"""Each source of data, on small copies of its real layout; nothing here needs a network."""

import dataclasses
import gzip
import io
import json
import os
import pathlib
import shutil
import struct
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data import datasets, loaders, tfds_files
from figr_tf.data.datasets import DataSettings, load_dataset

BACKGROUND = {"Greek/character01": 3, "Greek/character02": 3, "Latin/character01": 3}
EVALUATION = {"Elvish/character01": 3, "Elvish/character02": 2}


def _png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (105, 105), grey).save(buffer, "PNG")
    return buffer.getvalue()


def _omniglot_zip(path: pathlib.Path, classes: dict[str, int], first_label: int) -> None:
    """The official layout: PART/Alphabet/characterNN/LLLL_DD.png."""
    with zipfile.ZipFile(path, "w") as archive:
        for label, (name, count) in enumerate(classes.items(), start=first_label):
            for drawing in range(1, count + 1):
                member = f"{path.stem}/{name}/{label:04d}_{drawing:02d}.png"
                archive.writestr(member, _png((10 * label + drawing) % 256))


@pytest.fixture
def omniglot(tmp_path):
    folder = tmp_path / "omniglot"
    folder.mkdir()
    _omniglot_zip(folder / "images_background.zip", BACKGROUND, 1)
    _omniglot_zip(folder / "images_evaluation.zip", EVALUATION, 4)
    return folder


@pytest.fixture
def settings(tmp_path):
    return DataSettings(image_size=16, cache_dir=str(tmp_path / "cache"))


def _greys(dataset: datasets.Dataset, class_name: str) -> list[int]:
    start = dataset.data.starts()[class_name]
    return dataset.data.images[start : start + dataset.data.counts[class_name], 0, 0, 0].tolist()


def test_omniglot_zips_are_split_by_part(omniglot, settings):
    dataset = load_dataset(
        dataclasses.replace(settings, dataset="omniglot", data_dir=str(omniglot)), 2
    )
    assert dataset.split.name == "unseen-alphabets"
    assert dataset.split.training == tuple(sorted(BACKGROUND))
    assert dataset.split.held_out == tuple(sorted(EVALUATION))
    assert _greys(dataset, "Latin/character01") == [31, 32, 33]


def test_the_validation_split_holds_out_five_background_alphabets_and_no_evaluation_class(
    tmp_path, settings
):
    folder = tmp_path / "omniglot"
    folder.mkdir()
    validation = ("Balinese", "Futurama", "Korean", "N_Ko", "Syriac_(Estrangelo)")
    held_out = [f"{alphabet}/character01" for alphabet in validation]
    _omniglot_zip(folder / "images_background.zip", BACKGROUND | dict.fromkeys(held_out, 2), 1)
    _omniglot_zip(folder / "images_evaluation.zip", EVALUATION, 9)
    chosen = dataclasses.replace(
        settings, dataset="omniglot", data_dir=str(folder), split="validation"
    )
    dataset = load_dataset(chosen, 2)
    assert dataset.split.training == tuple(sorted(BACKGROUND))
    assert dataset.split.held_out == tuple(held_out)
    assert set(EVALUATION) <= set(dataset.data.counts)  # one cache of images, whatever the split


def test_the_split_of_45_and_5_alphabets_tests_on_five_and_chooses_on_five_others(
    tmp_path, settings
):
    folder = tmp_path / "omniglot"
    folder.mkdir()
    test = [f"{a}/character01" for a in ("Sylheti", "Syriac_(Serto)", "Tengwar", "Tibetan", "ULOG")]
    validation = ["Korean/character01", "Syriac_(Estrangelo)/character01"]
    _omniglot_zip(folder / "images_background.zip", BACKGROUND | dict.fromkeys(validation, 2), 1)
    _omniglot_zip(folder / "images_evaluation.zip", EVALUATION | dict.fromkeys(test, 2), 9)
    others = set(BACKGROUND) | set(EVALUATION)
    for name, trained, held_out in (
        ("45-5", others | set(validation), test),
        ("45-5-validation", others, validation),
    ):
        chosen = dataclasses.replace(settings, dataset="omniglot", data_dir=str(folder), split=name)
        split = load_dataset(chosen, 2).split
        assert set(split.training) == trained - set(test)
        assert split.held_out == tuple(held_out)


def test_boutins_split_holds_out_the_first_three_characters_of_every_alphabet(
    all_of_omniglot, settings
):
    chosen = dataclasses.replace(
        settings, dataset="omniglot", data_dir=str(all_of_omniglot), split="boutin"
    )
    split = load_dataset(chosen, 1).split
    assert len(split.held_out) == 150
    assert {name.split("/")[1] for name in split.held_out} == {f"character0{i}" for i in (1, 2, 3)}


def test_omniglot_folders_equal_the_zips(omniglot, settings, tmp_path):
    unpacked = tmp_path / "unpacked"
    for part in ("images_background", "images_evaluation"):
        zipfile.ZipFile(omniglot / f"{part}.zip").extractall(unpacked)
    a, b = (
        load_dataset(dataclasses.replace(settings, dataset="omniglot", data_dir=str(folder)), 2)
        for folder in (omniglot, unpacked)
    )
    assert a.split == b.split
    assert all(_greys(a, name) == _greys(b, name) for name in a.data.counts)


def test_omniglot_with_one_zip_missing_names_it(omniglot, settings):
    (omniglot / "images_evaluation.zip").unlink()
    with pytest.raises(DataError, match=r"images_evaluation.zip .* is missing"):
        load_dataset(dataclasses.replace(settings, dataset="omniglot", data_dir=str(omniglot)), 2)


@pytest.fixture
def all_of_omniglot(tmp_path):
    """All 964 + 659 classes of 30 + 20 alphabets, which the builder insists on, with one drawing
    each.
    """
    folder = tmp_path / "all"
    folder.mkdir()
    names = [f"Alphabet{c % 30:02d}/character{c // 30 + 1:02d}" for c in range(964)]
    names += [f"Alphabet{30 + c % 20}/character{c // 20 + 1:02d}" for c in range(659)]
    _omniglot_zip(folder / "images_background.zip", dict.fromkeys(names[:964], 1), 1)
    _omniglot_zip(folder / "images_evaluation.zip", dict.fromkeys(names[964:], 1), 965)
    for part in ("images_background_small1", "images_background_small2"):
        _omniglot_zip(folder / f"{part}.zip", dict.fromkeys(names[:5], 1), 1)
    return folder


def test_omniglot_through_tensorflow_datasets_equals_the_zips(
    all_of_omniglot, settings, tmp_path, monkeypatch
):
    """The real builder, offline: four zips in its manual folder, and checksums that fit them."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    manual = tmp_path / "tfds/downloads/manual"
    shutil.copytree(all_of_omniglot, manual)
    builder = tfds.builder("omniglot", data_dir=tmp_path / "tfds")
    infos = {
        url: checksums.compute_url_info(manual / pathlib.PurePosixPath(url).name)
        for url in builder.url_infos
    }
    monkeypatch.setattr(type(builder), "url_infos", infos)

    chosen = dataclasses.replace(settings, dataset="omniglot")
    through_tfds = load_dataset(dataclasses.replace(chosen, data_dir=str(tmp_path / "tfds")), 1)
    direct = load_dataset(dataclasses.replace(chosen, data_dir=str(all_of_omniglot)), 1)
    assert through_tfds.split == direct.split
    assert (len(direct.split.training), len(direct.split.held_out)) == (964, 659)
    for name in ("Alphabet00/character01", "Alphabet49/character32"):
        assert _greys(through_tfds, name) == _greys(direct, name)


@pytest.mark.parametrize("name", ["omniglot", "mnist"])
def test_a_missing_download_is_reported_within_five_seconds_with_files_sizes_and_checksums(
    name, settings, tmp_path, monkeypatch
):
    import tensorflow_datasets  # noqa: F401  (its import is not part of the wait)

    silence = threading.Event()

    def never_answers(*_, **__):
        silence.wait(60)
        raise OSError("closed at the end of the test")

    monkeypatch.setattr(tfds_files.urllib.request, "urlopen", never_answers)
    (tmp_path / "tfds").mkdir()
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        load_dataset(
            dataclasses.replace(settings, dataset=name, data_dir=str(tmp_path / "tfds")), 4
        )
    assert time.monotonic() - start < 5
    silence.set()
    message = str(caught.value)
    assert "no answer within 2 s" in message
    assert str(tmp_path / "tfds/downloads/manual") in message
    assert message.count("sha256") == 4
    assert {"omniglot": "9464212 bytes", "mnist": "1648877 bytes"}[name] in message


def _idx(values: np.ndarray) -> bytes:
    return gzip.compress(
        struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


@pytest.fixture
def mnist(tmp_path):
    """30 images of digits 0–9 in turn, light ink in the middle; the training pair."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    labels = np.arange(30, dtype=np.uint8) % 10
    digits = np.zeros((30, 28, 28), np.uint8)
    digits[:, 10:18, 10:18] = 200 + labels[:, None, None]
    (folder / "train-images-idx3-ubyte.gz").write_bytes(_idx(digits))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(_idx(labels))
    return folder


def test_mnist_files_give_dark_ink_and_hold_out_digit_9(mnist, settings):
    dataset = load_dataset(
        dataclasses.replace(settings, dataset="mnist", data_dir=str(mnist), image_size=32), 3
    )
    assert dataset.split.held_out == ("9",)
    assert dataset.data.counts == {str(d): 3 for d in range(10)}
    start = dataset.data.starts()["7"]
    assert (dataset.data.images[start : start + 3, 16, 16, 0] == 255 - 207).all()
    assert (dataset.data.images[:, 0, 0, 0] == 255).all()


def test_mnist_falls_back_to_the_test_pair_and_says_so(mnist, settings, caplog):
    for path in list(mnist.iterdir()):
        path.rename(mnist / path.name.replace("train", "t10k"))
    dataset = load_dataset(dataclasses.replace(settings, dataset="mnist", data_dir=str(mnist)), 3)
    assert len(dataset.data.images) == 30
    assert "test images instead" in caplog.text


@pytest.mark.parametrize(
    "damage", [lambda b: b[:40], lambda b: b"x" * 50, lambda b: gzip.compress(b"\0\0\x0d\3")]
)
def test_damaged_mnist_files_are_one_line(mnist, settings, damage):
    path = mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: .*Download it again"):
        load_dataset(dataclasses.replace(settings, dataset="mnist", data_dir=str(mnist)), 3)


def test_mnist_with_images_and_labels_of_different_length_is_refused(mnist, settings):
    (mnist / "train-labels-idx1-ubyte.gz").write_bytes(_idx(np.zeros(29, np.uint8)))
    with pytest.raises(DataError, match="30 train images but 29 labels"):
        load_dataset(dataclasses.replace(settings, dataset="mnist", data_dir=str(mnist)), 3)


def test_figr8_is_read_as_its_archive_unpacks(tmp_path, settings):
    """60 classes of 2–4 images named like the published ones; 50 are held out, the small ones left
    out.
    """
    for c in range(60):
        folder = tmp_path / f"figr8/Data/icon {c:02d}"
        folder.mkdir(parents=True)
        for i in range(2 + c % 3):
            (folder / f"{1000 * c + i}-200.png").write_bytes(_png(c))
    chosen = dataclasses.replace(settings, dataset="figr8", data_dir=str(tmp_path / "figr8"))
    dataset = load_dataset(chosen, 2)
    assert (len(dataset.split.training), len(dataset.split.held_out)) == (10, 50)
    assert _greys(dataset, "icon 05") == [5, 5, 5, 5]
    assert isinstance(
        dataset.data.images, np.memmap
    )  # 1.5 million images are not copied into memory


def test_figr8_without_its_folder_says_where_it_should_be(tmp_path, settings):
    with pytest.raises(DataError, match=r"Data: no such folder\. Unpack FIGR-8"):
        load_dataset(dataclasses.replace(settings, dataset="figr8", data_dir=str(tmp_path)), 2)


def _folder_data(tmp_path, counts):
    for name, count in counts.items():
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "own" / name / f"{i}.png").write_bytes(_png(i))
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
                archive.writestr(f"Data/{name}/a-{name}-{i}.png", _png(i))
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


def test_paper_split_of_the_real_list_sizes(settings, monkeypatch):
    """1,603 / 20 characters, as in Table 1."""
    counts = {f"alphabet/character{i}": 20 for i in range(1623)}
    data = datasets.ClassImages(np.zeros((0, 16, 16, 1), np.uint8), counts)
    monkeypatch.setattr(loaders, "omniglot", lambda _: (set(), data))
    chosen = dataclasses.replace(settings, dataset="omniglot", split="paper")
    split = load_dataset(chosen, 4).split
    assert (len(split.training), len(split.held_out)) == (1603, 20)
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
