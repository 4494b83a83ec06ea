"""MNIST and FIGR-8 on small copies of their real layouts; nothing here needs a network."""

import dataclasses
import gzip
import struct

import numpy as np
import pytest

from figr_tf.core.errors import DataError
from figr_tf.data.datasets import load_dataset
from tests.data.trees import greys, png


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
            (folder / f"{1000 * c + i}-200.png").write_bytes(png(c))
    chosen = dataclasses.replace(settings, dataset="figr8", data_dir=str(tmp_path / "figr8"))
    dataset = load_dataset(chosen, 2)
    assert (len(dataset.split.training), len(dataset.split.held_out)) == (10, 50)
    assert greys(dataset, "icon 05") == [5, 5, 5, 5]
    assert isinstance(
        dataset.data.images, np.memmap
    )  # 1.5 million images are not copied into memory


def test_figr8_without_its_folder_says_where_it_should_be(tmp_path, settings):
    with pytest.raises(DataError, match=r"Data: no such folder\. Unpack FIGR-8"):
        load_dataset(dataclasses.replace(settings, dataset="figr8", data_dir=str(tmp_path)), 2)
