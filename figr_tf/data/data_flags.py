"""The flags that say which data, for the commands that share them."""

from collections.abc import Sequence

import absl.flags

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.data import datasets

absl.flags.disclaim_key_flags()  # They are those of the command, for its --help.


class DataFlags:
    """--dataset and its like, with the meaning that they have in `figr_tf.train`.

    Attributes:
        dataset, data_dir, cache_dir, split: the flags, for a command that asks for their values.
    """

    def __init__(self, flags: console.OwnFlags, dataset_help: str, more_splits: Sequence[str] = ()):
        """more_splits: names that --split takes beside those of the data sets."""
        self.dataset = flags.DEFINE_enum("dataset", None, datasets.DATASETS, dataset_help)
        self.data_dir = flags.DEFINE_path(
            "data_dir", None, "Folder (or zip) of the data. Default: through tensorflow-datasets."
        )
        self.cache_dir = flags.DEFINE_path(
            "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
        )
        self.split = flags.DEFINE_enum(
            "split",
            None,
            [*datasets.SPLITS, *more_splits],
            "Which classes are held out, as in training.",
        )
        self._split_seed = flags.DEFINE_integer("split_seed", 0, "Seed of the random splits.", 0)
        self._held_out = flags.DEFINE_list(
            "held_out_classes", [], "Names of the held-out classes; replaces --split."
        )
        self._ink = flags.DEFINE_enum(
            "ink", "dark", ["dark", "light"], "Ink in the files of --dataset=folder."
        )

    def given_beside_dataset(self) -> list[str]:
        """Flags about the data that were given, other than where its files are."""
        others = (self.split, self._split_seed, self._held_out, self._ink)
        return [f"--{flag.name}" for flag in others if flag.value != flag.default]

    def settings(
        self, image_size: int = 32, channels: int = 1, default_dataset: str = "omniglot"
    ) -> datasets.DataSettings:
        """Raises UserError for combinations that cannot work."""
        # A name that the command has added, such as figr_tf.evaluate's "all", is for the command to
        # deal with.
        split = self.split.value if self.split.value in datasets.SPLITS else None
        try:
            return datasets.DataSettings(
                dataset=self.dataset.value or default_dataset,
                data_dir=self.data_dir.value,
                image_size=image_size,
                channels=channels,
                ink=self._ink.value,
                split=split,
                split_seed=self._split_seed.value,
                held_out_classes=tuple(self._held_out.value),
                cache_dir=self.cache_dir.value,
            )
        except ValueError as error:
            raise UserError(f"{error}.") from error
