"""The whole protocol: episodes, samples, reference rows, table, pictures."""

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from figr_common import image_grid
from figr_tf.core import progress
from figr_tf.core.errors import DataError
from figr_tf.evaluation import features, reference_rows, table
from figr_tf.evaluation.episodes import Episode, draw_episode

SAMPLES_PER_SHOT = 16  # At the least: with so few as n, a model that copies looks perfect.
_SHOWN_CLASSES = 6
_SHOWN_SAMPLES = 12
_LABEL_WIDTH = 90  # pixels

REFERENCE_ROWS = {
    "copies of the support": reference_rows.copies,
    "copies + 1 % flips": reference_rows.flipped,
    "support + small affine": reference_rows.small_affine,
    "support + large affine": reference_rows.large_affine,
    "blends of two supports": reference_rows.blended,
}
_COPIES = "copies of the support"

# Support images, uint8 [n, S, S, C], and the episode → row name → samples, uint8 [m, S, S, C].
Sampler = Callable[[np.ndarray, Episode, int], dict[str, np.ndarray]]


class Plan(NamedTuple):
    """What is evaluated on.

    Attributes:
        classes: class name → all of its drawings, uint8 [count, S, S, C], S ≥ 32, dark ink.
        num_shots: n. num_samples: M, at least 16·n. seeds: of the episodes and of the adaptation.
    """

    classes: dict[str, np.ndarray]
    num_shots: int
    num_samples: int
    seeds: tuple[int, ...]

    def episodes(self, seed: int) -> list[Episode]:
        """One for each class, under one seed."""
        return [
            draw_episode(name, len(images), self.num_shots, seed)
            for name, images in self.classes.items()
        ]


class Result(NamedTuple):
    """What came out: the table's rows by name, and seconds by what they were spent on."""

    rows: dict[str, table.Row]
    seconds: dict[str, float]


def _reference_samples(
    plan: Plan, episodes: list[Episode], seed: int
) -> dict[str, list[np.ndarray]]:
    rows = {}
    for i, (name, make) in enumerate(REFERENCE_ROWS.items()):
        # A generator for each row, so that one more at the end leaves the others as they are.
        rng = np.random.default_rng([seed, i])
        rows[name] = [
            make(plan.classes[e.class_name][e.support], plan.num_samples, rng) for e in episodes
        ]
    return rows


def cached(sampler: Sampler, folder: pathlib.Path, facts: dict) -> Sampler:
    """The sampler with its results kept on disk: an interrupted evaluation goes on where it was.

    Args:
        facts: whatever the samples depend on besides support and episode; other facts have files of
            their own.
    """
    # Whatever decides the samples decides the file's name, so that no stale file is ever read.
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def sample(support: np.ndarray, episode: Episode, seed: int) -> dict[str, np.ndarray]:
        drawings = hashlib.sha256(support.tobytes()).hexdigest()[:16]
        path = folder / key / f"{seed}-{drawings}.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        samples = sampler(support, episode, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        with scratch.open("wb") as file:
            np.savez_compressed(file, **samples)  # type: ignore[arg-type]
        # Renamed last: a kill leaves no half file under the final name.
        scratch.replace(path)
        return samples

    return sample


def _model_samples(
    plan: Plan, episodes: list[Episode], seed: int, sampler: Sampler
) -> dict[str, list[np.ndarray]]:
    rows: dict[str, list[np.ndarray]] = {}
    for episode in progress.track(episodes, f"adapting, seed {seed}", "classes"):
        support = plan.classes[episode.class_name][episode.support]
        for name, samples in sampler(support, episode, seed).items():
            # The energy distance needs pairs.
            if len(samples) < 2:
                raise DataError(
                    f"class {episode.class_name}: {len(samples)} samples; at least 2 are needed."
                )
            rows.setdefault(name, []).append(samples)
    return rows


def evaluate(
    plan: Plan, sampler: Sampler | None, embedding: features.Embedding | None = None
) -> Result:
    """Scores all rows; without a sampler the reference rows alone.

    Args:
        embedding: the feature network; None for the one that ships.

    Raises:
        DataError: a class with too few drawings or samples.
    """
    embed = (embedding or features.Embedding()).embed
    spaces: table.Spaces = {"embedding": embed, "blur": features.blur}
    per_seed: dict[str, list] = {}
    seconds = {"adaptation": 0.0, "everything else": 0.0}
    start = time.monotonic()
    for seed in plan.seeds:
        episodes = plan.episodes(seed)
        samples = _reference_samples(plan, episodes, seed)
        before = time.monotonic()
        if sampler:
            samples |= _model_samples(plan, episodes, seed, sampler)
        # Apart from the rest, which is the same for every model.
        seconds["adaptation"] += time.monotonic() - before
        real = table.RealImages(plan.classes, episodes, spaces)
        per_seed.setdefault("real held-out", []).append(table.score_real(real, seed))
        for name, images in progress.track(list(samples.items()), f"scoring, seed {seed}", "rows"):
            per_seed.setdefault(name, []).append(table.score(real.embed(images), real, seed))
    copies = [energy for _, energy in per_seed[_COPIES]]
    seconds["everything else"] = time.monotonic() - start - seconds["adaptation"]
    # A row may have fewer seeds than there are, the first ones.
    rows = {name: table.combine(scores, copies[: len(scores)]) for name, scores in per_seed.items()}
    return Result(rows, seconds)


def class_order(result: Result, row: str) -> np.ndarray:
    """Class indices from best to worst by the embedding's energy distance, less that of copies."""
    model, copies = (result.rows[name].energy_distances["embedding"] for name in (row, _COPIES))
    return np.argsort(model - copies, kind="stable")


def picture(plan: Plan, sampler: Sampler, result: Result, row: str) -> Image.Image:
    """Best, median and worst classes of one row, first seed: support framed, samples below."""
    order, episodes = class_order(result, row), plan.episodes(plan.seeds[0])
    shown = min(_SHOWN_CLASSES, len(order))
    middle = (len(order) - shown) // 2
    strips = {
        "best": order[:shown],
        "median": order[middle : middle + shown],
        "worst": order[len(order) - shown :],
    }
    images = []
    for label, chosen in strips.items():
        shown_episodes = [episodes[i] for i in chosen]
        images.append(_strip(label, list(_task_pictures(plan, sampler, row, shown_episodes))))
    gap = np.full((8, images[0].width, 3), 255, np.uint8)
    stacked = [part for image in images for part in (gap, np.asarray(image))]
    return Image.fromarray(np.concatenate(stacked[1:]))


def _task_pictures(
    plan: Plan, sampler: Sampler, row: str, episodes: list[Episode]
) -> Iterator[Image.Image]:
    for episode in episodes:
        support = plan.classes[episode.class_name][episode.support]
        samples = sampler(support, episode, plan.seeds[0])[row]
        yield image_grid.task_picture(support, samples[:_SHOWN_SAMPLES])


def _strip(label: str, pictures: list[Image.Image]) -> Image.Image:
    tasks = image_grid.beside(pictures)
    strip = Image.new("RGB", (tasks.width + _LABEL_WIDTH, tasks.height), (255, 255, 255))
    strip.paste(tasks, (_LABEL_WIDTH, 0))
    ImageDraw.Draw(strip).text((8, 8), label, fill=(0, 0, 0), font_size=20)
    return strip
