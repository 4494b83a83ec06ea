"""The flags that say which data, for the commands that share them."""

from collections.abc import Sequence

import absl.flags

from figr_tf.core import console
from figr_tf.core.errors import refusals_in_one_line
from figr_tf.data import datasets

absl.flags.disclaim_key_flags()  # They are those of the command, for its --help.

_SPLIT_HELP = (
    "Which classes are held out. Default: unseen-alphabets (omniglot), paper (mnist, figr8), random"
    " tenth (icons, folder, glyphs)."
)


class DataFlags:
    """Which data set, where and how its files are, and which of its classes are held out.

    Attributes:
        dataset, data_dir, cache_dir, ink, split: the flags, for a command that asks for their
            values.
    """

    def __init__(
        self,
        flags: console.OwnFlags,
        dataset_help: str,
        default_dataset: str = "glyphs",
        tells_if_given: bool = False,
        more_splits: Sequence[str] = (),
        split_help: str = _SPLIT_HELP,
    ):
        """What a command has of its own.

        Args:
            tells_if_given: --dataset is None unless it is given; its help says the default.
            more_splits: names that --split takes beside those of the data sets.
        """
        self._default_dataset = default_dataset
        self.dataset = flags.DEFINE_enum(
            "dataset", None if tells_if_given else default_dataset, datasets.DATASETS, dataset_help
        )
        self.data_dir = flags.DEFINE_path(
            "data_dir",
            None,
            "Folder (or zip) with the data set's files. Default: what tensorflow-datasets"
            " downloads.",
        )
        self.cache_dir = flags.DEFINE_path(
            "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
        )
        self.ink = flags.DEFINE_enum(
            "ink",
            "dark",
            ["dark", "light"],
            "Ink in the files of --dataset=folder; light is inverted.",
        )
        self.split = flags.DEFINE_enum("split", None, [*datasets.SPLITS, *more_splits], split_help)
        self._split_seed = flags.DEFINE_integer("split_seed", 0, "Seed of the random splits.", 0)
        self._held_out = flags.DEFINE_list(
            "held_out_classes",
            [],
            "Names of the held-out classes, comma-separated; replaces --split.",
        )

    def given_beside_dataset(self) -> list[str]:
        """Flags about the data that were given, other than where its files are."""
        others = (self.split, self._split_seed, self._held_out, self.ink)
        return [f"--{flag.name}" for flag in others if flag.value != flag.default]

    @property
    def has_unused_split_seed(self) -> bool:
        """Whether --split_seed is given without a --split that it could be of."""
        return self._split_seed.value != self._split_seed.default and not self.split.value

    def settings(
        self, image_size: int = 32, channels: int = 1, default_split: str | None = None
    ) -> datasets.DataSettings:
        """Raises UserError for values that cannot work together."""
        # A name that the command has added, such as figr_tf.evaluate's "all", is for the command to
        # deal with.
        known = self.split.value in datasets.SPLITS
        with refusals_in_one_line():
            return datasets.DataSettings(
                dataset=self.dataset.value or self._default_dataset,
                data_dir=self.data_dir.value,
                image_size=image_size,
                channels=channels,
                ink=self.ink.value,
                split=self.split.value if known else default_split,
                split_seed=self._split_seed.value,
                held_out_classes=tuple(self._held_out.value),
                cache_dir=self.cache_dir.value,
            )
