"""A small tree of classes, and the loading of it."""

import pathlib

from PIL import Image

from figr_tf.data import class_images
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
