"""One loader a data set: from its settings to its images, by whichever route its files lie.

Each returns the names of its background classes (Omniglot's, elsewhere none), and the images.
"""

import dataclasses
import gzip
import pathlib
import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from absl import logging
from PIL import Image

from figr_common import images
from figr_tf.core.errors import DataError
from figr_tf.data import glyphs, image_trees, tfds_files
from figr_tf.data.class_images import ClassImages, ImageFormat, load_images
from figr_tf.data.image_trees import ImageFile
from figr_tf.data.settings import DataSettings, cache_dir, files_root

_OMNIGLOT_PARTS = ("images_background", "images_evaluation")
# Folders of halves of the same classes, in the layout of torchvision's ImageFolder.
_HALVES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_INK_SAMPLE = 200  # Images that are looked at for their ink.
_GLYPH_CLASSES = 400
_GLYPH_DRAWINGS = 20


def _tfds_dir(settings: DataSettings) -> pathlib.Path | None:
    return files_root(settings) if settings.data_dir else None


def _cached(settings: DataSettings, list_files) -> ClassImages:
    return load_images(list_files, settings.image_format(), cache_dir(settings))


def folder(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """A folder or zip of the user's own; its leaf folders are the classes.

    Raises:
        DataError: no data_dir, no usable image, or classes that stand there twice.
    """
    if not settings.data_dir:
        raise DataError(
            "--dataset=folder needs --data_dir: a folder (or zip) whose leaf folders hold one class"
            " each."
        )
    root = files_root(settings)
    list_files = image_trees.files_in_folder if root.is_dir() else image_trees.files_in_zip
    try:
        data = _cached(settings, lambda: list_files(root))
    except DataError as error:
        raise DataError(f"{root}: {error}") from error
    _refuse_halves(root, data.counts)
    # A wrong --ink trains for hours on negatives; a look at some images costs nothing.
    shown = data.images[:: max(1, len(data.images) // _INK_SAMPLE)]
    if advice := images.ink_advice(shown, settings.ink):
        logging.warning("%s: %s", root, advice)
    return set(), data


def _refuse_halves(root: pathlib.Path, class_names: Iterable[str]) -> None:
    """Raises DataError if a class stands twice, below train and below val, say.

    One half of it could be trained on and the other held out.
    """
    halves: dict[tuple[str, ...], list[str]] = {}
    for name in class_names:
        *folders, own_name = name.split("/")
        # The same with and without the other halves: a/train/b and a/val/b become (a, "", b).
        alike = ["" if folder.lower() in _HALVES else folder for folder in folders]
        if alike != folders:
            halves.setdefault((*alike, own_name), []).append(name)
    twice = [names for names in halves.values() if len(names) > 1]
    if twice:
        first = f"{' and '.join(twice[0])}; {len(twice)} in all"
        raise DataError(
            f"{root}: classes stand there more than once ({first}), as in folders that are split"
            " into halves for other tools. Give one of the halves as --data_dir, or join them."
        )


def figr8(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """FIGR-8 as its authors' archive unpacks. Raises DataError if it does not lie there."""
    root = files_root(settings) / "Data"
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder. Unpack FIGR-8 (github.com/marcdemers/FIGR-8) so that its"
            f" images are {root}/<class>/<id>-200.png, and give the folder above Data as"
            " --data_dir."
        )
    return folder(dataclasses.replace(settings, data_dir=str(root)))


def icons(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """What `figr_tf.icons` makes: FIGR-8's layout, in a zip or unpacked.

    Raises:
        DataError: there is none of both; it says how to make one.
    """
    make = "Make the file with python -m figr_tf.icons (docs/data.md) and give it as --data_dir."
    if not settings.data_dir:
        raise DataError(f"--dataset=icons needs --data_dir. {make}")
    root = files_root(settings)
    path = root / "icons.zip" if (root / "icons.zip").is_file() else root
    if path.is_dir() and not (path / "Data").is_dir():
        raise DataError(f"{path}: neither icons.zip nor the folder Data is in it. {make}")

    def list_files() -> Iterator[ImageFile]:
        if path.is_dir():
            return image_trees.files_in_folder(path / "Data")
        return image_trees.files_in_zip(path, root="Data")

    try:
        return set(), _cached(settings, list_files)
    except DataError as error:
        raise DataError(f"{path}: {error} {make}") from error


def glyph_alphabet(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """400 classes of 20 procedurally drawn glyphs; nothing is read."""
    # Seed 0 whatever the run's: the alphabet is data, and the same for everybody.
    arrays = [
        glyphs.glyph_images(c, _GLYPH_DRAWINGS, settings.image_size, seed=0)
        for c in range(_GLYPH_CLASSES)
    ]
    data = np.concatenate(arrays).repeat(settings.channels, axis=-1)
    return set(), ClassImages(
        data, {f"glyph{c:03d}": _GLYPH_DRAWINGS for c in range(_GLYPH_CLASSES)}
    )


def omniglot(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """Omniglot from its two zips or folders, or through tensorflow-datasets.

    Classes are named "Alphabet/characterNN" by either route.

    Raises: DataError: one of the two parts is missing, or see `tfds_files.files`.
    """
    root = files_root(settings)
    found = {
        part: path
        for part in _OMNIGLOT_PARTS
        for path in (root / part, root / f"{part}.zip")
        if path.exists()
    }
    if not settings.data_dir or not found:
        return _omniglot_from_tfds(settings)
    missing = [part for part in _OMNIGLOT_PARTS if part not in found]
    if missing:
        raise DataError(
            f"{root}: {missing[0]}.zip (or that folder unpacked) is missing beside"
            f" {found.popitem()[1]}."
        )

    def files_of(part: str) -> Iterator[ImageFile]:
        path = found[part]
        if path.is_dir():
            return image_trees.files_in_folder(path)
        return image_trees.files_in_zip(path, root=part)

    # From the files: a cache does not know which part a class was in.
    background = {file.class_name for file in files_of(_OMNIGLOT_PARTS[0])}
    return background, _cached(
        settings, lambda: (file for part in _OMNIGLOT_PARTS for file in files_of(part))
    )


def _omniglot_from_tfds(settings: DataSettings) -> tuple[set[str], ClassImages]:
    def class_name(builder, example) -> str:
        alphabet = builder.info.features["alphabet"].names[example["alphabet"]]
        return f"{alphabet}/character{example['alphabet_char_id'] + 1:02d}"

    found = tfds_files.files("omniglot", _tfds_dir(settings), ("train", "test"), class_name)
    background = {file.class_name for split, file in found if split == "train"}
    return background, _cached(settings, lambda: (file for _, file in found))


def mnist(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """MNIST's digits as classes "0" … "9". Its ink is light on dark, and inverted here."""
    light = settings.image_format()._replace(ink="light")
    root = files_root(settings)
    if settings.data_dir and any(root.glob("*-images-idx3-ubyte.gz")):
        return set(), _mnist_from_files(root, light)
    found = tfds_files.files(
        "mnist", _tfds_dir(settings), ("train",), lambda _, example: str(example["label"])
    )
    return set(), load_images(lambda: (file for _, file in found), light, cache_dir(settings))


def _mnist_from_files(root: pathlib.Path, image_format: ImageFormat) -> ClassImages:
    """The official training pair, as in the paper.

    Where only the test pair is there, that one, with a warning.
    """
    part = "train" if (root / "train-images-idx3-ubyte.gz").exists() else "t10k"
    if part == "t10k":
        logging.warning(
            "%s: no train-images-idx3-ubyte.gz; using the 10,000 test images instead", root
        )
    digits = _read_idx(root / f"{part}-images-idx3-ubyte.gz", num_axes=3)
    labels = _read_idx(root / f"{part}-labels-idx1-ubyte.gz", num_axes=1)
    if len(digits) != len(labels):
        raise DataError(
            f"{root}: {len(digits)} {part} images but {len(labels)} labels; download both again."
        )
    # Class by class, as `ClassImages` has them, and within one in the order of the file.
    order = np.argsort(labels, kind="stable")
    data = np.stack(
        [images.prepare_image(Image.fromarray(digits[i]), *image_format) for i in order]
    )
    names, counts = np.unique(labels, return_counts=True)
    return ClassImages(
        data, {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    )


def _read_idx(path: pathlib.Path, num_axes: int) -> np.ndarray:
    """Reads a gzipped IDX file of bytes.

    It holds 2 zeros, type 8, the number of axes, their sizes (big-endian), the values.
    """
    try:
        with gzip.open(path) as file:
            if file.read(4) != bytes([0, 0, 8, num_axes]):
                raise DataError(
                    f"{path}: not an IDX file of {num_axes} axes of bytes. Download it again."
                )
            shape = struct.unpack(f">{num_axes}I", file.read(4 * num_axes))
            size = int(np.prod(shape, dtype=object))
            # One byte more than is right tells a longer file; the header of a damaged one may say
            # anything.
            values = file.read(min(size, 2**30) + 1)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing beside the other MNIST files.") from error
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: damaged ({error}). Download it again.") from error
    if len(values) != size:
        raise DataError(
            f"{path}: holds {len(values)} values where its header says {size}. Download it again."
        )
    return np.frombuffer(values, np.uint8).reshape(shape)
