"""Binary images in raster order: paper is class 0, ink is class 1."""

import math

import numpy as np
from PIL import Image

from figr_common import image_grid
from figr_tf.core.errors import DataError
from figr_tf.data.datasets import load_dataset
from figr_tf.data.settings import DataSettings
from figr_tf.data.splits import Split
from figr_tf.sequences import data
from figr_tf.sequences.data import Sequences

_DARK = 128  # A byte below is ink; MNIST's own pixels are ink from 128 on.


class Images(Sequences):
    """Images of a data set, of whatever class, uint8."""

    items = "images"
    alone = "each pixel by itself"

    @property
    def num_classes(self) -> int:
        """Paper and ink."""
        return 2

    @property
    def summary(self) -> str:
        """How many there are, for people."""
        return f"{len(self.starts)} training and {len(self.held_out)} held-out images"

    def nats_alone(self, sequences: np.ndarray) -> np.ndarray:
        """By how often a pixel of that place is ink."""
        training = self.stream.reshape(-1, self.held_out.shape[1])
        ink = (training.sum(0, dtype=np.int64) + 1.0) / (len(training) + 2.0)
        return np.where(sequences, -np.log(ink), -np.log(1.0 - ink))

    def picture(self, shown: np.ndarray, drawn: np.ndarray) -> Image.Image:
        """Held-out images framed, samples below them."""
        return image_grid.task_picture(to_pixels(shown), to_pixels(drawn))


def of(
    training: np.ndarray, held_out: np.ndarray, facts: dict[str, str], files: dict[str, str]
) -> Images:
    """From uint8 [·, N] of 0 and 1 each."""
    starts = np.arange(len(training), dtype=np.int64) * training.shape[1]
    return Images(training.reshape(-1), starts, held_out, facts, files)


def load(settings: DataSettings) -> Images:
    """Reads them, and holds out the classes of a split, or every tenth image where none is named.

    Raises:
        DataError: see `datasets.load_dataset`; or fewer than 20 images.
    """
    dataset = load_dataset(settings, 1)
    count = len(dataset.data.images)
    if count < data.LEAST:
        raise DataError(f"{count} images are too few: give {data.LEAST} or more.")
    facts = {"held_out": "every tenth image", "data_sha256": dataset.data.digest()}
    if not (settings.split or settings.held_out_classes):
        ink = from_pixels(dataset.data.images)
        is_held_out = np.arange(count) % data.HELD_OUT_EVERY == 0
        # Drawings are held out, and no class is.
        seen = Split(facts["held_out"], tuple(sorted(dataset.data.counts)), ())
        return of(ink[~is_held_out], ink[is_held_out], facts, {"split.json": seen.to_json()})
    training, held_out = (
        from_pixels(np.concatenate(list(dataset.images_of(names).values())))
        for names in (dataset.split.training, dataset.split.held_out)
    )
    facts["held_out"] = dataset.split.describe()
    return of(training, held_out, facts, {"split.json": dataset.split.to_json()})


def from_pixels(pixels: np.ndarray) -> np.ndarray:
    """uint8 [T, S, S, 1], dark ink → uint8 [T, S²] of 0 and 1."""
    return (pixels[..., 0] < _DARK).astype(np.uint8).reshape(len(pixels), -1)


def to_pixels(sequences: np.ndarray) -> np.ndarray:
    """0 and 1 [T, S²] → uint8 [T, S, S, 1], dark ink on light paper."""
    paper = 1 - np.asarray(sequences).astype(np.uint8)
    size = math.isqrt(paper.shape[1])
    return (255 * paper).reshape(-1, size, size, 1)
