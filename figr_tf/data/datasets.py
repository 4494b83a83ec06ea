"""Data sets by name → all images in memory and a split of their classes."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from absl import logging

from figr_tf.core.errors import DataError, listing
from figr_tf.data import loaders, splits
from figr_tf.data.class_images import ClassImages
from figr_tf.data.settings import DATASETS, SPLITS, SPLITS_OF, DataSettings, cache_dir, files_root

__all__ = [
    "DATASETS",
    "SPLITS",
    "ClassImages",
    "DataSettings",
    "Dataset",
    "cache_dir",
    "load_dataset",
    "splits",
]

# Table 1 of the paper: held-out classes drawn at random.
_PAPER_NUM_HELD_OUT = {"omniglot": 20, "figr8": 50}


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
    """Loads the images and splits the classes.

    Classes of fewer than `num_shots` images are left out, and named in a warning.

    Raises:
        DataError: files missing or unusable, or a split that leaves one side empty; one line says
            what to do.
    """
    load = {
        "omniglot": loaders.omniglot,
        "mnist": loaders.mnist,
        "figr8": loaders.figr8,
        "icons": loaders.icons,
        "folder": loaders.folder,
        "glyphs": loaders.glyph_alphabet,
    }[settings.dataset]
    if settings.data_dir and not files_root(settings).exists():
        raise DataError(
            f"{files_root(settings)}: no such folder or zip file. Mend --data_dir, or make it for a"
            " download."
        )
    background, data = load(settings)
    small = [name for name, count in data.counts.items() if count < num_shots]
    if small:
        logging.warning(
            "left out %d classes with fewer than %d images: %s",
            len(small),
            num_shots,
            listing(small),
        )
    names = [name for name, count in data.counts.items() if count >= num_shots]
    if len(names) < 2:
        raise DataError(
            f"{settings.data_dir or settings.dataset}: {len(names)} of {len(data.counts)} classes"
            f" have {num_shots} images or more; at least 2 are needed. A class is a folder of its"
            " own. Lower what a task needs of a class: --num_shots, --task_pool, --train_shots or"
            " --min_drawings, whichever the command has."
        )
    if (wanted := settings.held_out_classes) and set(wanted) <= set(small):
        raise DataError(
            f"--held_out_classes={','.join(wanted)}: none of them has {num_shots} images or more."
            " Name larger ones, or lower --num_shots and --task_pool."
        )
    return Dataset(data, _split_of(settings, data, names, background))


def _split_of(
    settings: DataSettings, data: ClassImages, names: list[str], background: set[str]
) -> splits.Split:
    """The split of all classes, without those that are too small.

    So a class that is held out of a task of few drawings is held out of one of many as well. Of a
    handful of classes that may leave a side empty; then the large ones are split.
    """
    if len(names) == len(data.counts):
        return _split(settings, names, background)
    kept = _split(settings, list(data.counts), background).only(names)
    return kept if kept.training and kept.held_out else _split(settings, names, background)


def _split(settings: DataSettings, names: list[str], background: set[str]) -> splits.Split:
    if settings.held_out_classes:
        unknown = sorted(set(settings.held_out_classes) - set(names))
        if unknown:
            raise DataError(f"held-out class {unknown[0]!r} is not among the {len(names)} classes.")
        return splits.split_by(
            "held-out-classes", names, set(settings.held_out_classes).__contains__
        )
    name = settings.split or SPLITS_OF[settings.dataset][0]
    if name == "unseen-alphabets":
        return splits.split_by(name, names, lambda class_name: class_name not in background)
    # The evaluation set is on neither side of this one, so that nothing is ever chosen on it.
    if name == "validation":
        return splits.split_by(name, background & set(names), splits.is_validation)
    # The five test alphabets are held out, or on neither side while settings are chosen.
    if name == "45-5":
        return splits.split_by(name, names, splits.is_test)
    if name == "45-5-validation":
        others = [class_name for class_name in names if not splits.is_test(class_name)]
        return splits.split_by(name, others, splits.is_validation)
    # Boutin et al. 2022: the first three characters of every alphabet.
    if name == "boutin":
        return splits.split_by(
            name, names, lambda class_name: class_name[-2:] in ("01", "02", "03")
        )
    # openai/supervised-reptile: 1,200 training characters of 1,623.
    if name == "random-1200":
        return splits.random_split(name, names, max(0, len(names) - 1_200), settings.split_seed)
    # The paper trains on the digits 0 to 8 and adapts to nines.
    if name == "paper" and settings.dataset == "mnist":
        return splits.split_by(name, names, "9".__eq__)
    if name == "paper":
        return splits.random_split(
            name, names, _PAPER_NUM_HELD_OUT[settings.dataset], settings.split_seed
        )
    # A tenth, where nobody has published a split.
    return splits.random_split(name, names, max(1, len(names) // 10), settings.split_seed)
