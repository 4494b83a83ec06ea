"""Sequences to read, whatever they are of."""

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np
from PIL import Image

HELD_OUT_EVERY = 10
LEAST = 2 * HELD_OUT_EVERY  # Sequences in all: intervals need two that are held out.


@dataclasses.dataclass(frozen=True)
class Sequences(abc.ABC):
    """Classes in their order: of images or of a text, training apart from held-out ones.

    Attributes:
        stream: [M], the classes of the training sequences, one sequence after another.
        starts: int64 [n], where in it a training sequence may begin.
        held_out: [m, N], held-out sequences.
        facts: what tells the data apart from others, for a run's identity.
        files: what a run folder records of the data, by name.
        items: what people call the sequences. alone: what they call `nats_alone`.
    """

    stream: np.ndarray
    starts: np.ndarray
    held_out: np.ndarray
    facts: dict[str, Any]
    files: dict[str, str]

    items: ClassVar[str]
    alone: ClassVar[str]

    @property
    @abc.abstractmethod
    def num_classes(self) -> int:
        """C: a class is one of 0 … C − 1."""

    @property
    @abc.abstractmethod
    def summary(self) -> str:
        """How many there are, for people."""

    @abc.abstractmethod
    def nats_alone(self, sequences: np.ndarray) -> np.ndarray:
        """Of sequences [T, N] the nats [T, N] by frequencies in training, without what is before.

        Frequencies are by Laplace's rule: each class counts once more than it was seen.
        """

    @abc.abstractmethod
    def picture(self, shown: np.ndarray, drawn: np.ndarray) -> Image.Image:
        """Held-out sequences [·, N], and samples [·, N] below them."""


def spread(sequences: np.ndarray, count: int) -> np.ndarray:
    """Up to so many of them, evenly spaced."""
    return sequences[:: max(1, len(sequences) // count)][:count]
