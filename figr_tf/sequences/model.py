"""A trained network that reads sequences by gradient descent."""

import pathlib

import numpy as np
import tensorflow as tf

from figr_tf.core import runs, trained
from figr_tf.core.random import stateless_seed
from figr_tf.data import support_sets
from figr_tf.sequences import images, networks
from figr_tf.sequences.recurrence import Read
from figr_tf.sequences.settings import SequenceSettings
from figr_tf.sequences.system import Reader


class SequenceModel:
    """Scores and draws sequences.

    Attributes:
        folder: that it was loaded from. settings: of its training.
        weights: Φ by name.
        meta_step: meta-steps behind its weights.
    """

    def __init__(self, folder: pathlib.Path):
        """Loads the newest state of a run.

        Raises:
            RunError: the folder is no run of this system, or has no usable weights.
        """
        self.folder = folder
        run = runs.RunFolder(folder)
        self.settings = run.read_settings(SequenceSettings)
        initial = networks.initial_weights(self.settings.network, 0)
        self._variables = {name: tf.Variable(w) for name, w in initial.items()}
        self.meta_step = trained.restore(run, self.meta_weights())
        self.weights = {name: v.read_value() for name, v in self._variables.items()}
        self._reader = Reader(self.settings)

    @property
    def num_inner_steps(self) -> None:
        """None: a step is taken on each pixel, so there is nothing to choose."""
        return None

    @property
    def age(self) -> str:
        """How long it was trained, for people."""
        return f"{self.meta_step} meta-steps"

    def meta_weights(self) -> dict[str, list[tf.Variable]]:
        """Its variables, by group."""
        return {"network": list(self._variables.values())}

    @property
    def label(self) -> str:
        """What a table calls it."""
        settings = self.settings
        how = "" if settings.network.is_recurrent else f", {settings.objective}"
        name = self.folder.name
        return f"{name} ({self.age}), {settings.network.network}{how}"

    def read(self, sequences: np.ndarray) -> Read:
        """Sequences of classes, [T, N]."""
        return self._reader.read(self.weights, sequences)

    def draw(self, count: int, seed: int) -> Read:
        """New sequences; the same for the same arguments."""
        return self._reader.draw(self.weights, count, stateless_seed(seed))

    def read_support(self, folder: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """A folder of images, or one, as uint8 [n, S, S, 1] in black and white."""
        return self.as_support(support_sets.read(folder, (self._image_size, 1), ink))

    def as_support(self, pixels: np.ndarray) -> np.ndarray:
        """Drawings of the data set, uint8 [n, S, S, 1], in black and white."""
        return images.to_pixels(images.from_pixels(pixels))

    def adapted(self, support: np.ndarray) -> networks.Weights:
        """Weights that have read a support set, 0 and 1 [n, S²], one image after another."""
        weights: networks.Weights = self.weights
        for image in support:
            after = self._reader.read(weights, image[np.newaxis]).weights
            weights = {name: w[0] for name, w in after.items()}
        return weights

    def generate(
        self,
        support_images: np.ndarray,
        num_samples: int = 16,
        seed: int = 0,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Reads a support set, then draws: a step on each pixel all along.

        Args:
            support_images: uint8 [n, S, S, 1], n ≥ 1; below 128 is ink.
            seed: 0 ≤ seed < 2**53.
            num_inner_steps: None, see the property.

        Returns:
            uint8 [num_samples, S, S, 1], ink 0 and paper 255.

        Raises:
            ValueError: support images of another shape or type, or a number out of its range.
        """
        support_sets.check_numbers(num_samples, seed)
        if num_inner_steps is not None:
            raise ValueError(
                f"this model takes a step on each pixel. Received: num_inner_steps="
                f"{num_inner_steps}"
            )
        shape = (self._image_size, self._image_size, 1)
        support = images.from_pixels(support_sets.check(support_images, shape))
        drawn = self._reader.draw(self.adapted(support), num_samples, stateless_seed(seed))
        return images.to_pixels(drawn.targets.numpy())

    @property
    def _image_size(self) -> int:
        return self.settings.network.image_size
