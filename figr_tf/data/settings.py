"""Which data a run is of, and what can be asked for."""

import dataclasses
import os
import pathlib
from typing import Any

from figr_tf.core.errors import DataError, refusals_in_one_line
from figr_tf.data.class_images import ImageFormat

DATASETS = ("omniglot", "mnist", "figr8", "icons", "folder", "glyphs")
_ALPHABETS = ("unseen-alphabets", "validation", "45-5", "45-5-validation")
SPLITS = (*_ALPHABETS, "paper", "boutin", "random", "random-1200")
# The first is the default.
SPLITS_OF = {
    "omniglot": (*_ALPHABETS, "paper", "boutin", "random", "random-1200"),
    "mnist": ("paper", "random"),
    "figr8": ("paper", "random"),
    "icons": ("random",),
    "folder": ("random",),
    "glyphs": ("random",),
}
_CACHE_DIR = "~/.cache/figr_tf"


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which data, in which form.

    Attributes:
        dataset: one of `DATASETS`.
        data_dir: folder (or zip, for "folder" and "icons") with the files; None for TensorFlow
            Datasets' own folder.
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
        if self.split and not self.held_out_classes and self.split not in SPLITS_OF[self.dataset]:
            known = ", ".join(SPLITS_OF[self.dataset])
            raise ValueError(
                f"data set {self.dataset} has the splits {known}. Received: split={self.split}"
            )
        if self.ink == "light" and (self.dataset != "folder" or self.channels != 1):
            raise ValueError(
                "ink=light is for dataset=folder with grey images: other data sets come with dark"
                f" ink, and colour has none. Received: dataset={self.dataset},"
                f" channels={self.channels}"
            )
        if self.dataset == "glyphs" and self.data_dir:
            raise ValueError(
                f"dataset=glyphs is drawn and reads no files. Received: data_dir={self.data_dir}"
            )

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "DataSettings":
        """Settings as a run recorded them."""
        # JSON knows no tuples, and a list never equals one.
        return cls(**fields | {"held_out_classes": tuple(fields["held_out_classes"])})

    def elsewhere(self, data_dir: str | None, cache_dir: str | None) -> "DataSettings":
        """The same data as another host has it.

        Args:
            data_dir: None: where it lay in training, if a packaged model has not forgotten that.

        Raises:
            UserError: this data is of no files.
        """
        with refusals_in_one_line():
            return dataclasses.replace(
                self, data_dir=data_dir or self.data_dir, cache_dir=cache_dir
            )

    def image_format(self) -> ImageFormat:
        """What every image of the data set is brought to."""
        return ImageFormat(self.image_size, self.channels, self.ink)


def cache_dir(settings: DataSettings) -> pathlib.Path:
    """Where decoded images are kept. Raises DataError if there is no home folder for them."""
    folder = os.path.expanduser(settings.cache_dir or _CACHE_DIR)
    if folder.startswith("~"):
        raise DataError("there is no home folder to keep decoded images in. Give --cache_dir.")
    return pathlib.Path(folder)


def files_root(settings: DataSettings) -> pathlib.Path:
    """The folder (or zip) of the files, in one spelling whatever was given.

    The cache knows files by their names.
    """
    return pathlib.Path(os.path.expanduser(settings.data_dir or ".")).resolve()
