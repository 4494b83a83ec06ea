"""How well networks predict held-out sequences: one table of runs, and samples."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from figr_common import image_grid, student
from figr_tf.core import progress, runs
from figr_tf.core.errors import UserError
from figr_tf.sequences import data, system
from figr_tf.sequences.data import Sequences
from figr_tf.sequences.model import SequenceModel
from figr_tf.sequences.text import Text, TextSettings

_AT_ONCE = 50  # Sequences that are read side by side.
_SHOWN, _SAMPLES, _SAMPLED_TEXTS = 8, 24, 8


class Score(NamedTuple):
    """Nats per pixel, or per character.

    Attributes:
        mean: over sequences. margin: half the width of its 95 % interval.
    """

    mean: float
    margin: float

    @classmethod
    def of(cls, nats: np.ndarray) -> "Score":
        """From those of at least two sequences, [T, N]."""
        each = nats.mean(1, dtype=np.float64)
        return cls(float(each.mean()), student.margin(each))

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.margin:.4f}"


class Report(NamedTuple):
    """What came out: a score for each row, and what the numbers depend on."""

    facts: dict[str, Any]
    rows: dict[str, Score]

    def to_markdown(self) -> str:
        """For people; less is better."""
        lines = [f"| | nats per {self.facts['unit']} |", "|---|---|"]
        return "\n".join([*lines, *(f"| {name} | {score} |" for name, score in self.rows.items())])

    def text(self) -> str:
        """For people."""
        facts = self.facts
        about = (
            f"{facts['num_held_out']} held-out {facts['items']} of {facts['dataset']}"
            f" ({facts['held_out']})"
        )
        return f"± 95 % interval over {about}\n\n{self.to_markdown()}"

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        rows = {name: score._asdict() for name, score in self.rows.items()}
        return self.facts | {"rows": rows, "versions": runs.versions()}


def load(
    models: Sequence[SequenceModel], data_dir: str | None, cache_dir: str | None, text: str | None
) -> Sequences:
    """The data that all of them were trained on.

    Args:
        data_dir, cache_dir, text: where files are, if not where they were in training.

    Raises:
        UserError: it is not the same data, or not of one kind and size.
    """
    networks = [model.settings.network for model in models]
    if len({(network.image_size, network.text_length) for network in networks}) > 1:
        raise UserError("--run: runs of sequences of different sizes do not go into one table.")
    described = models[0].settings.data
    if isinstance(described, TextSettings):
        if data_dir or cache_dir:
            raise UserError("--data_dir, --cache_dir: these are runs of a text. Give --text.")
        described = dataclasses.replace(described, file=text or described.file)
    elif text:
        raise UserError("--text: these are runs of images. Leave it away.")
    else:
        described = described.elsewhere(data_dir, cache_dir)
    sequences = system.load(described)
    for model in models:
        identity = runs.RunFolder(model.folder).read_identity()
        runs.refuse_difference(model.folder, identity, sequences.facts)
    return sequences


def run(models: Sequence[SequenceModel], sequences: Sequences, num_held_out: int) -> Report:
    """Reads the same held-out sequences with each.

    Raises:
        UserError: fewer than two sequences.
    """
    held_out = sequences.held_out
    if min(len(held_out), num_held_out) < 2:
        raise UserError("intervals need two held-out sequences. Give more.")
    if num_held_out < len(held_out):
        chosen = np.random.default_rng(0).choice(len(held_out), num_held_out, replace=False)
        held_out = held_out[np.sort(chosen)]
    rows = {}
    for model in models:
        starts = range(0, len(held_out), _AT_ONCE)
        parts = [
            model.read(held_out[i : i + _AT_ONCE]).nats.numpy()
            for i in progress.track(starts, model.folder.name, f"× {_AT_ONCE} {sequences.items}")
        ]
        rows[model.label] = Score.of(np.concatenate(parts))
    rows[sequences.alone] = Score.of(sequences.nats_alone(held_out))
    about = {
        str(model.folder): {
            "meta_step": model.meta_step,
            "settings": model.settings.identity(),
        }
        for model in models
    }
    settings = models[0].settings
    facts = {
        "dataset": settings.data.dataset,
        "num_held_out": len(held_out),
        "items": sequences.items,
        "unit": settings.network.unit,
    }
    return Report({**facts, **sequences.facts, "runs": about}, rows)


def picture(models: Sequence[SequenceModel], sequences: Sequences, seed: int) -> Image.Image:
    """Of each run: held-out sequences, and samples below them."""
    shown = data.spread(sequences.held_out, _SHOWN)
    samples = [model.draw(_SAMPLES, seed).targets.numpy() for model in models]
    return image_grid.beside([sequences.picture(shown, drawn) for drawn in samples])


def sampled_texts(models: Sequence[SequenceModel], sequences: Text, seed: int) -> str:
    """Eight samples of each run below its name."""
    parts = []
    for model in models:
        drawn = sequences.strings(model.draw(_SAMPLED_TEXTS, seed).targets.numpy())
        parts += [f"=== {model.label}, sample {i}\n{s}\n" for i, s in enumerate(drawn, start=1)]
    return "\n".join(parts)
