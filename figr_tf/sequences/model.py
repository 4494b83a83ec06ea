"""A trained network that reads sequences by gradient descent."""

import pathlib

import numpy as np
import tensorflow as tf

from figr_tf.core import runs, trained
from figr_tf.core.random import stateless_seed
from figr_tf.sequences import models
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
        initial = models.initial_weights(self.settings.network, 0)
        variables = {name: tf.Variable(w) for name, w in initial.items()}
        self.meta_step = trained.restore(run, {"network": list(variables.values())})
        self.weights = {name: v.read_value() for name, v in variables.items()}
        self._reader = Reader(self.settings)

    @property
    def label(self) -> str:
        """What a table calls it."""
        settings = self.settings
        how = "" if settings.network.is_recurrent else f", {settings.objective}"
        name = self.folder.name
        return f"{name} ({self.meta_step} meta-steps), {settings.network.network}{how}"

    def read(self, sequences: np.ndarray) -> Read:
        """Sequences of classes, [T, N]."""
        return self._reader.read(self.weights, sequences)

    def draw(self, count: int, seed: int) -> Read:
        """New sequences; the same for the same arguments."""
        return self._reader.draw(self.weights, count, stateless_seed(seed))
