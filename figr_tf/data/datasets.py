"""Data sets by name → all images in memory and a split of their classes."""

import dataclasses
import gzip
import os
import pathlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from PIL import Image

from figr_common import images
from figr_tf.core.errors import DataError
from figr_tf.data import glyphs, image_trees, splits, tfds_files
from figr_tf.data.image_trees import ClassImages, ImageFile, ImageFormat

DATASETS = ("omniglot", "mnist", "figr8", "folder", "glyphs")
SPLITS = ("unseen-alphabets", "validation", "paper", "boutin", "random", "random-1200")
# The first is the default.
_SPLITS_OF = {
    "omniglot": ("unseen-alphabets", "validation", "paper", "boutin", "random", "random-1200"),
    "mnist": ("paper", "random"),
    "figr8": ("paper", "random"),
    "folder": ("random",),
    "glyphs": ("random",),
}
# Table 1 of the paper: held-out classes drawn at random.
_PAPER_NUM_HELD_OUT = {"omniglot": 20, "figr8": 50}
_OMNIGLOT_PARTS = ("images_background", "images_evaluation")
# Folders of halves of the same classes, in the layout of torchvision's ImageFolder.
_HALVES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_INK_SAMPLE = 200  # Images that are looked at for their ink.
_CACHE_DIR = "~/.cache/figr_tf"
_GLYPH_CLASSES = 400
_GLYPH_DRAWINGS = 20


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which data, in which form.

    Attributes:
        dataset: one of `DATASETS`.
        data_dir: folder (or zip, for "folder") with the files; None for TensorFlow Datasets' own
            folder.
        image_size, channels, ink: see `images.decode_drawing`.
        split: one of `SPLITS`, or None for the data set's default.
        split_seed: of the random splits.
        held_out_classes: names of the held-out classes; replaces `split`.
        cache_dir: where decoded images are kept; None for a folder below the home folder.
    """

    dataset: str = "glyphs"
    data_dir: str | None = None
    image_size: int = 32
    channels: int = 1
    ink: str = "dark"
    split: str | None = None
    split_seed: int = 0
    held_out_classes: tuple[str, ...] = ()
    cache_dir: str | None = None

    def __post_init__(self):
        """Raises ValueError for combinations that cannot work, before anything is loaded."""
        if self.split and not self.held_out_classes and self.split not in _SPLITS_OF[self.dataset]:
            known = ", ".join(_SPLITS_OF[self.dataset])
            raise ValueError(
                f"data set {self.dataset} has the splits {known}. Received: split={self.split}"
            )
        if self.ink == "light" and (self.dataset != "folder" or self.channels != 1):
            raise ValueError(
                "ink=light is for dataset=folder with grey images: other data sets come with dark ink, and colour has"
                f" none. Received: dataset={self.dataset}, channels={self.channels}"
            )
        if self.dataset == "glyphs" and self.data_dir:
            raise ValueError(
                f"dataset=glyphs is drawn and reads no files. Received: data_dir={self.data_dir}"
            )

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "DataSettings":
        """Settings as a run recorded them."""
        return cls(**fields | {"held_out_classes": tuple(fields["held_out_classes"])})

    def image_format(self) -> ImageFormat:
        return ImageFormat(self.image_size, self.channels, self.ink)


class Dataset(NamedTuple):
    """Images by class, and which classes are held out."""

    data: ClassImages
    split: splits.Split

    def images_of(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Class name → all of its drawings, uint8 [count, S, S, C]."""
        starts, counts = self.data.starts(), self.data.counts
        return {
            name: self.data.images[starts[name] : starts[name] + counts[name]] for name in names
        }

    def facts(self) -> dict[str, str]:
        """What tells it apart from any other: for a run's identity."""
        return {"split": self.split.describe(), "data_sha256": self.data.digest()}


def load_dataset(settings: DataSettings, num_shots: int) -> Dataset:
    """Loads the images and splits the classes; classes with fewer than `num_shots` images are left
    out by name.

    Raises:
        DataError: files missing or unusable, or a split that leaves one side empty; one line says
            what to do.
    """
    loaders = {
        "omniglot": _omniglot,
        "mnist": _mnist,
        "figr8": _figr8,
        "folder": _folder,
        "glyphs": _glyphs,
    }
    if settings.data_dir and not _root(settings).exists():
        raise DataError(
            f"{_root(settings)}: no such folder or zip file. Mend --data_dir, or make it for a download."
        )
    background, data = loaders[settings.dataset](settings)
    small = [name for name, count in data.counts.items() if count < num_shots]
    if small:
        shown = ", ".join(small[:5]) + (", …" if len(small) > 5 else "")
        logging.warning(
            "left out %d classes with fewer than %d images: %s", len(small), num_shots, shown
        )
    names = [name for name, count in data.counts.items() if count >= num_shots]
    if len(names) < 2:
        raise DataError(
            f"{settings.data_dir or settings.dataset}: {len(names)} of {len(data.counts)} classes have {num_shots}"
            " images or more; at least 2 are needed. A class is a folder of its own; a lower --num_shots needs fewer."
        )
    return Dataset(data, _split(settings, names, background))


def _split(settings: DataSettings, names: list[str], background: set[str]) -> splits.Split:
    if settings.held_out_classes:
        unknown = sorted(set(settings.held_out_classes) - set(names))
        if unknown:
            raise DataError(f"held-out class {unknown[0]!r} is not among the {len(names)} classes.")
        return splits.split_by(
            "held-out-classes", names, set(settings.held_out_classes).__contains__
        )
    name = settings.split or _SPLITS_OF[settings.dataset][0]
    if name == "unseen-alphabets":
        return splits.split_by(name, names, lambda class_name: class_name not in background)
    if (
        name == "validation"
    ):  # the evaluation set is on neither side, so that nothing is ever chosen on it
        return splits.split_by(name, background & set(names), _is_validation)
    if name == "boutin":  # Boutin et al. 2022: the first three characters of every alphabet
        return splits.split_by(
            name, names, lambda class_name: class_name[-2:] in ("01", "02", "03")
        )
    if name == "random-1200":  # openai/supervised-reptile: 1,200 training characters of 1,623
        return splits.random_split(name, names, max(0, len(names) - 1_200), settings.split_seed)
    if name == "paper" and settings.dataset == "mnist":
        return splits.split_by(name, names, "9".__eq__)
    if name == "paper":
        return splits.random_split(
            name, names, _PAPER_NUM_HELD_OUT[settings.dataset], settings.split_seed
        )
    return splits.random_split(name, names, max(1, len(names) // 10), settings.split_seed)


def _is_validation(class_name: str) -> bool:
    return class_name.split("/")[0] in splits.VALIDATION_ALPHABETS


def _cached(settings: DataSettings, list_files) -> ClassImages:
    return image_trees.load_images(list_files, settings.image_format(), cache_dir(settings))


def cache_dir(settings: DataSettings) -> pathlib.Path:
    """Where decoded images are kept; raises DataError if there is no home folder to keep them in."""
    folder = os.path.expanduser(settings.cache_dir or _CACHE_DIR)
    if folder.startswith("~"):
        raise DataError("there is no home folder to keep decoded images in. Give --cache_dir.")
    return pathlib.Path(folder)


def _tfds_dir(settings: DataSettings) -> pathlib.Path | None:
    return _root(settings) if settings.data_dir else None


def _root(settings: DataSettings) -> pathlib.Path:
    """One spelling of the folder, whatever was given: its files are known to the cache by name."""
    return pathlib.Path(os.path.expanduser(settings.data_dir or ".")).resolve()


def _folder(settings: DataSettings) -> tuple[set[str], ClassImages]:
    if not settings.data_dir:
        raise DataError(
            "--dataset=folder needs --data_dir: a folder (or zip) whose leaf folders hold one class each."
        )
    root = _root(settings)
    list_files = image_trees.files_in_folder if root.is_dir() else image_trees.files_in_zip
    try:
        data = _cached(settings, lambda: list_files(root))
    except DataError as error:
        raise DataError(f"{root}: {error}") from error
    _refuse_halves(root, data.counts)
    shown = data.images[:: max(1, len(data.images) // _INK_SAMPLE)]
    if advice := images.ink_advice(shown, settings.ink):
        logging.warning("%s: %s", root, advice)
    return set(), data


def _refuse_halves(root: pathlib.Path, class_names: Iterable[str]) -> None:
    """Raises DataError if a class stands twice, below train and below val, say: one half of it
    could be trained on and the other held out."""
    halves: dict[tuple[str, ...], list[str]] = {}
    for name in class_names:
        parts = name.split("/")
        if any(part.lower() in _HALVES for part in parts[:-1]):
            key = tuple("" if part.lower() in _HALVES else part for part in parts[:-1])
            halves.setdefault((*key, parts[-1]), []).append(name)
    twice = [names for names in halves.values() if len(names) > 1]
    if twice:
        first = f"{' and '.join(twice[0])}; {len(twice)} in all"
        raise DataError(
            f"{root}: classes stand there more than once ({first}), as in folders that are split"
            " into halves for other tools. Give one of the halves as --data_dir, or join them."
        )


def _figr8(settings: DataSettings) -> tuple[set[str], ClassImages]:
    root = _root(settings) / "Data"
    if not root.is_dir():
        raise DataError(
            f"{root}: no such folder. Unpack FIGR-8 (github.com/marcdemers/FIGR-8) so that its images are"
            f" {root}/<class>/<id>-200.png, and give the folder above Data as --data_dir."
        )
    return _folder(dataclasses.replace(settings, data_dir=str(root)))


def _glyphs(settings: DataSettings) -> tuple[set[str], ClassImages]:
    arrays = [
        glyphs.glyph_images(c, _GLYPH_DRAWINGS, settings.image_size, seed=0)
        for c in range(_GLYPH_CLASSES)
    ]
    data = np.concatenate(arrays).repeat(settings.channels, axis=-1)
    return set(), ClassImages(
        data, {f"glyph{c:03d}": _GLYPH_DRAWINGS for c in range(_GLYPH_CLASSES)}
    )


def _omniglot(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """Classes are named "Alphabet/characterNN" by either route."""
    root = _root(settings)
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
            f"{root}: {missing[0]}.zip (or that folder unpacked) is missing beside {found.popitem()[1]}."
        )

    def files_of(part: str) -> Iterator[ImageFile]:
        path = found[part]
        return (
            image_trees.files_in_folder(path)
            if path.is_dir()
            else image_trees.files_in_zip(path, root=part)
        )

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


def _mnist(settings: DataSettings) -> tuple[set[str], ClassImages]:
    """Digits as classes "0" … "9". MNIST's ink is light on dark, and inverted here."""
    light = settings.image_format()._replace(ink="light")
    root = _root(settings)
    if settings.data_dir and any(root.glob("*-images-idx3-ubyte.gz")):
        return set(), _mnist_from_files(root, light)
    found = tfds_files.files(
        "mnist", _tfds_dir(settings), ("train",), lambda _, example: str(example["label"])
    )
    return set(), image_trees.load_images(
        lambda: (file for _, file in found), light, cache_dir(settings)
    )


def _mnist_from_files(root: pathlib.Path, image_format: ImageFormat) -> ClassImages:
    """The official training pair, as in the paper; the test pair, with a warning, where only that
    is there.
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
    order = np.argsort(labels, kind="stable")
    data = np.stack(
        [images.prepare_image(Image.fromarray(digits[i]), *image_format) for i in order]
    )
    names, counts = np.unique(labels, return_counts=True)
    return ClassImages(
        data, {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    )


def _read_idx(path: pathlib.Path, num_axes: int) -> np.ndarray:
    """Reads a gzipped IDX file of bytes: 2 zeros, type 8, number of axes, sizes (big-endian),
    values.
    """
    try:
        with gzip.open(path) as file:
            if file.read(4) != bytes([0, 0, 8, num_axes]):
                raise DataError(
                    f"{path}: not an IDX file of {num_axes} axes of bytes. Download it again."
                )
            shape = struct.unpack(f">{num_axes}I", file.read(4 * num_axes))
            size = int(np.prod(shape, dtype=object))
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
