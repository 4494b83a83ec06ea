"""Rows of the results table from samples: features, scores, intervals, text."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from figr_tf.evaluation import features, scores
from figr_tf.evaluation.episodes import Episode

COLUMNS = (
    "skill embedding",
    "skill blur",
    "rec20 %",
    "1-shot %",
    "diversity",
    "copy AUC",
    "1-NN %",
    "CAS100 %",
)
BLUR_NOTE = (
    "¹ Blurred pixels are the training objective of the network omniglot-32-redraw, on other"
    " characters.\nOf it, and of what adapts to its drawings (--augment=redraw), judge by the"
    " embedding."
)
FEWEST_CLASSES = 4  # That an interval can be over.
Spaces = dict[str, Callable[[np.ndarray], np.ndarray]]


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        values: column → its value.
        intervals: column → 95 % interval, of the skills.
        energy_distances: feature space → [classes].
    """

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    energy_distances: dict[str, np.ndarray]


class RealImages:
    """Features of the episodes' real images under one seed, and of copies of their support.

    Args:
        classes: class name → uint8 [count, S, S, C].
        spaces: feature space → function from uint8 images to features.
    """

    def __init__(self, classes: dict[str, np.ndarray], episodes: list[Episode], spaces: Spaces):
        self.episodes = episodes
        self._spaces = spaces
        self.images = classes
        self.parts: dict[str, dict[str, list[np.ndarray]]] = {}
        everything = np.concatenate([classes[e.class_name] for e in episodes])
        # All classes in one array: the network runs on a few large batches, not on many small ones.
        offsets = np.cumsum([0] + [len(classes[e.class_name]) for e in episodes])
        for space, embed in spaces.items():
            embedded = embed(everything)
            per_class = [embedded[a:b] for a, b in itertools.pairwise(offsets)]
            self.parts[space] = {
                part: [per_class[i][getattr(e, part)] for i, e in enumerate(episodes)]
                for part in ("support", "reference", "held_out")
            }

    def embed(self, samples: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """Samples per class, uint8 [m, S, S, C] each → features per space and class."""
        counts = np.cumsum([0] + [len(s) for s in samples])
        stacked = np.concatenate(samples)
        # Each picture once: of copies, and of a model that copies, there are few.
        flat = np.ascontiguousarray(stacked.reshape(len(stacked), -1))
        as_bytes = flat.view(np.dtype((np.void, flat.shape[1]))).ravel()
        _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
        result = {}
        for space, embed in self._spaces.items():
            embedded = embed(stacked[first])[inverse]
            result[space] = [embedded[a:b] for a, b in itertools.pairwise(counts)]
        return result


def score(
    samples: dict[str, list[np.ndarray]], real: RealImages, seed: int
) -> tuple[dict[str, float], dict]:
    """Columns in the embedding's space, and energy distances per class in both; one seed."""
    embedded, parts = samples["embedding"], real.parts["embedding"]
    prototypes = np.stack([r.mean(0) for r in parts["reference"]])
    # For the 1-shot column: one drawing has to do for a prototype.
    exemplars = np.stack([r[0] for r in parts["reference"]])
    triples = zip(embedded, parts["held_out"], parts["support"], strict=True)
    pairs = list(zip(embedded, parts["reference"], strict=True))

    def recognised(centres: np.ndarray) -> float:
        # The same generator for every row, so that all are told from the same other classes.
        return 100 * scores.recognised(embedded, centres, np.random.default_rng(seed)).mean()

    values = {
        "rec20 %": recognised(prototypes),
        "1-shot %": recognised(exemplars),
        "diversity": scores.diversity_ratio(embedded, parts["held_out"]),
        "copy AUC": np.mean([scores.copy_auc(g, h, s) for g, h, s in triples]),
        "1-NN %": 100 * np.mean([scores.one_nearest_neighbour_accuracy(g, r) for g, r in pairs]),
        "CAS100 %": 100
        * scores.classification_accuracy(
            embedded, parts["held_out"], np.random.default_rng(seed)
        ).mean(),
    }
    if len(embedded) == 1:  # One class among one is no choice.
        values |= dict.fromkeys(("rec20 %", "1-shot %", "CAS100 %"), np.nan)
    energy = {
        space: np.array(
            [
                scores.energy_distance(g, r)
                for g, r in zip(samples[space], real.parts[space]["reference"], strict=True)
            ]
        )
        for space in features.SPACES
    }
    return {key: float(value) for key, value in values.items()}, energy


def score_real(real: RealImages, seed: int) -> tuple[dict[str, float], dict]:
    """The row of real drawings: H in the place of samples.

    For CAS, R is: H is what CAS is tested on.
    """
    values, energy = score(
        {space: parts["held_out"] for space, parts in real.parts.items()}, real, seed
    )
    as_samples = score(
        {space: parts["reference"] for space, parts in real.parts.items()}, real, seed
    )[0]
    return values | {"CAS100 %": as_samples["CAS100 %"]}, energy


def combine(per_seed: list[tuple[dict[str, float], dict]], copies: list[dict]) -> Row:
    """Means over seeds; skills from the sums over classes and seeds, intervals by bootstrap.

    What is drawn with replacement are the classes; of fewer than `FEWEST_CLASSES` it is the
    episodes, and the interval says nothing about other classes.
    """
    columns = [of_seed for of_seed, _ in per_seed]
    values = {name: float(np.mean([column[name] for column in columns])) for name in columns[0]}
    energies = [of_seed for _, of_seed in per_seed]
    intervals, energy = {}, {}
    for space in features.SPACES:
        # [seeds, classes] each.
        of_model = np.stack([of_seed[space] for of_seed in energies])
        of_copies = np.stack([of_seed[space] for of_seed in copies])
        energy[space], base = of_model.mean(0), of_copies.mean(0)
        values[f"skill {space}"] = scores.skill(energy[space], base)
        if len(base) < FEWEST_CLASSES:
            interval = scores.bootstrap_interval(of_model.ravel(), of_copies.ravel())
        else:
            interval = scores.bootstrap_interval(energy[space], base)
        intervals[f"skill {space}"] = interval
    return Row(values, intervals, energy)


def _cell(row: Row, column: str) -> str:
    value = row.values[column]
    if _is_missing(value):
        return "–"
    if column in row.intervals:
        low, high = row.intervals[column]
        if _is_missing(low):
            return f"{value:.2f} [–]"
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"
    return f"{value:.1f}" if column.endswith("%") else f"{value:.2f}"


def rows_of(report: dict[str, Any]) -> dict[str, Row]:
    """Rows of a report of `figr_tf.evaluate --json`, without energy distances.

    Former reports call the embedding "critic".
    """

    def renamed(columns: dict[str, Any]) -> dict[str, Any]:
        return {name.replace("skill critic", "skill embedding"): v for name, v in columns.items()}

    return {
        name: Row(renamed(row["values"]), renamed(row["intervals"]), {})
        for name, row in report["rows"].items()
    }


def _is_missing(value: float | None) -> bool:
    """NaN, or None as JSON files have it."""
    return value is None or bool(np.isnan(value))


def to_markdown(rows: dict[str, Row]) -> str:
    """The rows as a table, and below it what has to be known of the blur column."""
    heads = [f"{column} ¹" if column == "skill blur" else column for column in COLUMNS]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(_cell(row, column) for column in COLUMNS) + " |"
        for name, row in rows.items()
    ]
    return "\n".join([*lines, "", BLUR_NOTE])
