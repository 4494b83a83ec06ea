"""How well networks predict held-out images, pixel by pixel: one table of runs, and samples."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from figr_common import image_grid
from figr_tf.core import progress, runs
from figr_tf.core.errors import UserError
from figr_tf.sequences import system
from figr_tf.sequences.model import SequenceModel
from figr_tf.sequences.system import Sequences

MARGINAL = "each pixel by itself"
_AT_ONCE = 50  # Images that are read side by side.
_SHOWN, _SAMPLES = 8, 24


class Score(NamedTuple):
    """Nats per pixel.

    Attributes:
        mean: over images. margin: half the width of its 95 % interval.
    """

    mean: float
    margin: float

    @classmethod
    def of(cls, per_image: np.ndarray) -> "Score":
        """From one number of each of at least two images."""
        margin = 1.96 * per_image.std(ddof=1) / math.sqrt(len(per_image))
        return cls(float(per_image.mean()), float(margin))

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.margin:.4f}"


class Report(NamedTuple):
    """What came out: a score for each row, and what the numbers depend on."""

    facts: dict[str, Any]
    rows: dict[str, Score]

    def to_markdown(self) -> str:
        """For people; less is better."""
        lines = ["| | nats per pixel |", "|---|---|"]
        return "\n".join([*lines, *(f"| {name} | {score} |" for name, score in self.rows.items())])

    def text(self) -> str:
        """For people."""
        facts = self.facts
        about = f"{facts['num_images']} held-out images of {facts['dataset']} ({facts['held_out']})"
        return f"± 95 % interval over {about}\n\n{self.to_markdown()}"

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        rows = {name: score._asdict() for name, score in self.rows.items()}
        return self.facts | {"rows": rows, "versions": runs.versions()}


def load(models: Sequence[SequenceModel], data_dir: str | None, cache_dir: str | None) -> Sequences:
    """The data that all of them were trained on.

    Raises:
        UserError: it is not the same data.
    """
    data = models[0].settings.data
    data = dataclasses.replace(data, data_dir=data_dir or data.data_dir, cache_dir=cache_dir)
    sequences = system.load(data)
    for model in models:
        identity = runs.RunFolder(model.folder).read_identity()
        runs.refuse_difference(model.folder, identity, sequences.facts)
    return sequences


def run(models: Sequence[SequenceModel], sequences: Sequences, num_images: int) -> Report:
    """Reads the same held-out images with each.

    Raises:
        UserError: fewer than two images.
    """
    held_out = sequences.held_out
    if min(len(held_out), num_images) < 2:
        raise UserError("intervals need two held-out images. Give more.")
    if num_images < len(held_out):
        chosen = np.random.default_rng(0).choice(len(held_out), num_images, replace=False)
        held_out = held_out[np.sort(chosen)]
    rows = {}
    for model in models:
        starts = range(0, len(held_out), _AT_ONCE)
        parts = [
            model.read(held_out[i : i + _AT_ONCE]).nats.numpy().mean(1)
            for i in progress.track(starts, model.folder.name, f"× {_AT_ONCE} images")
        ]
        rows[model.label] = Score.of(np.concatenate(parts).astype(np.float64))
    rows[MARGINAL] = Score.of(_marginal(sequences.training, held_out))
    about = {
        str(model.folder): {
            "meta_step": model.meta_step,
            "settings": model.settings.identity(),
        }
        for model in models
    }
    facts = {"dataset": models[0].settings.data.dataset, "num_images": len(held_out)}
    return Report({**facts, **sequences.facts, "runs": about}, rows)


def _marginal(training: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Nats per pixel of each image, from how often a pixel is ink in training (Laplace's rule)."""
    ink = (training.sum(0, dtype=np.int64) + 1.0) / (len(training) + 2.0)
    return np.where(held_out, -np.log(ink), -np.log(1.0 - ink)).mean(1)


def picture(models: Sequence[SequenceModel], sequences: Sequences, seed: int) -> Image.Image:
    """Of each run: held-out images framed, and samples below them."""
    size = models[0].settings.network.image_size
    shown = sequences.held_out[:: max(1, len(sequences.held_out) // _SHOWN)][:_SHOWN]
    parts = []
    for model in models:
        samples = system.to_pixels(model.draw(_SAMPLES, seed).pixels, size)
        parts.append(image_grid.task_picture(system.to_pixels(shown, size), samples))
    return image_grid.beside(parts)
