"""Omniglot on small copies of its real layouts; nothing here needs a network."""

import dataclasses
import pathlib
import shutil
import threading
import time
import zipfile

import pytest

from figr_tf.core.errors import DataError
from figr_tf.data import tfds_files
from figr_tf.data.datasets import load_dataset
from tests.data.trees import greys, png

BACKGROUND = {"Greek/character01": 3, "Greek/character02": 3, "Latin/character01": 3}
EVALUATION = {"Elvish/character01": 3, "Elvish/character02": 2}


def _omniglot_zip(path: pathlib.Path, classes: dict[str, int], first_label: int) -> None:
    """The official layout: PART/Alphabet/characterNN/LLLL_DD.png."""
    with zipfile.ZipFile(path, "w") as archive:
        for label, (name, count) in enumerate(classes.items(), start=first_label):
            for drawing in range(1, count + 1):
                member = f"{path.stem}/{name}/{label:04d}_{drawing:02d}.png"
                archive.writestr(member, png((10 * label + drawing) % 256))


@pytest.fixture
def omniglot(tmp_path):
    folder = tmp_path / "omniglot"
    folder.mkdir()
    _omniglot_zip(folder / "images_background.zip", BACKGROUND, 1)
    _omniglot_zip(folder / "images_evaluation.zip", EVALUATION, 4)
    return folder


def test_omniglot_zips_are_split_by_part(omniglot, settings):
    dataset = load_dataset(
        dataclasses.replace(settings, dataset="omniglot", data_dir=str(omniglot)), 2
    )
    assert dataset.split.name == "unseen-alphabets"
    assert dataset.split.training == tuple(sorted(BACKGROUND))
    assert dataset.split.held_out == tuple(sorted(EVALUATION))
    assert greys(dataset, "Latin/character01") == [31, 32, 33]


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
    assert all(greys(a, name) == greys(b, name) for name in a.data.counts)


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
        assert greys(through_tfds, name) == greys(direct, name)


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
