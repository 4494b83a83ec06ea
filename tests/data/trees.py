"""Small trees of classes, and the loading of them."""

import io
import pathlib

from PIL import Image

from figr_tf.data import class_images, datasets
from figr_tf.data.class_images import ImageFormat

FORMAT = ImageFormat(16, 1, "dark")


def write_tree(root: pathlib.Path) -> pathlib.Path:
    """Two alphabets, three classes, 2 + 3 + 1 images, each of one grey that tells it apart."""
    grey = 0
    for class_name, count in {"A/one": 2, "A/two": 3, "B/one": 1}.items():
        (root / class_name).mkdir(parents=True)
        for i in range(count):
            grey += 20
            Image.new("L", (20, 20), grey).save(root / class_name / f"{i}.png")
    return root


def load(list_files, tmp_path):
    return class_images.load_images(list_files, FORMAT, tmp_path / "cache")


def png(grey: int) -> bytes:
    """A PNG file of 105×105 pixels, all of one grey."""
    buffer = io.BytesIO()
    Image.new("L", (105, 105), grey).save(buffer, "PNG")
    return buffer.getvalue()


def greys(dataset: datasets.Dataset, class_name: str) -> list[int]:
    """By which the drawings of a class are known."""
    start = dataset.data.starts()[class_name]
    return dataset.data.images[start : start + dataset.data.counts[class_name], 0, 0, 0].tolist()
