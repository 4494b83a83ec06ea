"""How well density models predict drawings of classes from a support set: one table of runs."""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from figr_common import student
from figr_tf.core import progress, runs
from figr_tf.core.errors import UserError
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.data import splits
from figr_tf.data.datasets import Dataset, load_dataset
from figr_tf.pixelcnn import drawings
from figr_tf.pixelcnn.drawings import Drawings
from figr_tf.pixelcnn.model import PixelCnnModel
from figr_tf.pixelcnn.networks import Weights
from figr_tf.pixelcnn.prediction import Predictor

SIDES = ("held_out", "training", "test")
_STEPS = (0, 10)  # Inner steps where none are asked for, beside those of the run.
MARGINAL = "each pixel by itself"


class Score(NamedTuple):
    """Nats per pixel.

    Attributes:
        mean: over classes. margin: half the width of its 95 % interval.
        per_class: what they are of, in the order of the classes.
    """

    mean: float
    margin: float
    per_class: list[float]

    @classmethod
    def of(cls, per_class: Sequence[float]) -> "Score":
        """From one number of each of at least two classes."""
        values = np.asarray(per_class, np.float64)
        rounded = [round(v, 5) for v in values.tolist()]
        return cls(float(values.mean()), student.margin(values), rounded)

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.margin:.4f}"


class Plan(NamedTuple):
    """What to measure; see the flags of `figr_tf.evaluate_pixelcnn`."""

    sides: list[str]
    num_classes: int
    num_inner_steps: list[int]
    rates: list[float]
    max_shift: int | None
    seed: int
    data_dir: str | None
    cache_dir: str | None


class Report(NamedTuple):
    """What came out: row → a score for each side, and what the numbers depend on."""

    facts: dict[str, Any]
    rows: dict[str, dict[str, Score]]

    def to_markdown(self) -> str:
        """For people; nats per pixel, less is better."""
        sides = list(self.facts["classes"])
        heads = [f"{side}, {self.facts['classes'][side]} classes" for side in sides]
        lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for name, scores in self.rows.items():
            cells = " | ".join(str(scores[side]) for side in sides)
            lines.append(f"| {name} | {cells} |")
        return "\n".join(lines)

    def text(self) -> str:
        """For people."""
        about = f"{self.facts['num_shots']} drawings given, split {self.facts['split']}"
        return f"nats per pixel ± 95 % interval over classes, {about}\n\n{self.to_markdown()}"

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        rows = {
            name: {side: score._asdict() for side, score in scores.items()}
            for name, scores in self.rows.items()
        }
        return self.facts | {"rows": rows, "versions": runs.versions()}


def run(models: Sequence[PixelCnnModel], plan: Plan) -> Report:
    """Judges runs of one data set and split.

    Raises:
        UserError: runs that do not belong into one table, other data than they were trained on, or
            test classes that they were trained on.
    """
    first = models[0].settings
    data = first.data.elsewhere(plan.data_dir, plan.cache_dir)
    dataset = load_dataset(data, first.images_per_class)
    for model in models:
        _check(model, models[0], dataset)
    marginal = _marginal(drawings.drawings_of(dataset, dataset.split.training))
    rows: dict[str, dict[str, Score]] = {}
    counts, chosen = {}, {}
    for side in plan.sides:
        names = _classes(dataset, side, plan.num_classes)
        counts[side], chosen[side] = len(names), names
        held = drawings.drawings_of(dataset, names)
        cells = _column(models, marginal, held, names, plan, first.num_shots)
        for name, per_class in cells.items():
            rows.setdefault(name, {})[side] = Score.of(per_class)
    facts = {"num_shots": first.num_shots, "classes": counts, "seed": plan.seed, **dataset.facts()}
    # In the order of `per_class`.
    facts |= {"class_names": chosen}
    facts["runs"] = {
        str(model.folder): {
            "meta_step": model.meta_step,
            "weights_sha256": model.weights_sha256,
            "eval_learning_rates": _rates(model, plan),
            "num_inner_steps": _steps(model, plan),
            "max_shift": _max_shift(model, plan),
            "settings": model.settings.identity(),
        }
        for model in models
    }
    return Report(facts, rows)


def _check(model: PixelCnnModel, first: PixelCnnModel, dataset: Dataset) -> None:
    identity = runs.RunFolder(model.folder).read_identity()
    runs.refuse_difference(model.folder, identity, dataset.facts())
    for name in ("num_shots", "images_per_class"):
        ours, theirs = (getattr(m.settings, name) for m in (model, first))
        if ours != theirs:
            raise UserError(
                f"{model.folder} and {first.folder} differ in {name} ({ours}, {theirs}). Give one"
                " table runs of the same tasks."
            )


def _classes(dataset: Dataset, side: str, most: int) -> tuple[str, ...]:
    """A fixed choice of at most `most` classes of a side, sorted."""
    split = dataset.split
    if side == "test":
        names = [name for name in dataset.data.counts if splits.is_test(name)]
        if not names:
            raise UserError("--sides=test: the five test alphabets are Omniglot's; none is here.")
        if known := sorted(set(names) & set(split.training)):
            raise UserError(
                f"--sides=test: {known[0]} and {len(known) - 1} others were trained on, by the"
                f" split {split.name}. Train with --split=45-5 or 45-5-validation."
            )
    else:
        names = list(split.held_out if side == "held_out" else split.training)
    if len(names) < 2:
        raise UserError(f"--sides={side}: has {len(names)} class; intervals need two.")
    if most < len(names):
        names = np.random.default_rng(0).choice(sorted(names), most, replace=False).tolist()
    return tuple(sorted(names))


def _marginal(training: Drawings) -> np.ndarray:
    """How often each pixel is ink, [S, S], never 0 or 1 (Laplace's rule)."""
    return (training.ink.sum(0, dtype=np.int64) + 1.0) / (len(training.ink) + 2.0)


def _column(
    models: Sequence[PixelCnnModel],
    marginal: np.ndarray,
    held: Drawings,
    names: Sequence[str],
    plan: Plan,
    num_shots: int,
) -> dict[str, list[float]]:
    """Row → nats per pixel of each class, mean over its drawings beside the support."""
    tasks = [_task(held.of(i), name, num_shots, plan.seed) for i, name in enumerate(names)]
    cells: dict[str, list[float]] = {}
    for model in models:
        predictor = Predictor(model.settings.network, _max_shift(model, plan))
        for task in progress.track(tasks, model.folder.name, "classes"):
            for row, nats in _of_class(model, predictor, task, plan).items():
                cells.setdefault(row, []).append(nats)
    ink, paper = -np.log(marginal), -np.log(1.0 - marginal)
    cells[MARGINAL] = [float(np.where(t.others, ink, paper).mean()) for t in tasks]
    return cells


class _Task(NamedTuple):
    """Support and other drawings of a class, and the seed of what an adaptation draws."""

    support: np.ndarray
    others: np.ndarray
    seed: tf.Tensor


def _task(every: np.ndarray, name: str, num_shots: int, seed: int) -> _Task:
    """It depends on the name of its class and the seed alone."""
    number = zlib.crc32(name.encode())
    order = np.random.default_rng([seed, number]).permutation(len(every))
    # Names as numbers of 31 bits, since a stream is folded with an int32.
    stream = stateless_seed(seed, EVALUATION, number >> 1)
    return _Task(every[order[:num_shots]], every[order[num_shots:]], stream)


def _rates(model: PixelCnnModel, plan: Plan) -> list[float]:
    return plan.rates or [model.settings.eval_learning_rate]


def _steps(model: PixelCnnModel, plan: Plan) -> list[int]:
    own = model.num_inner_steps
    return [] if own is None else plan.num_inner_steps or sorted({*_STEPS, own})


def _max_shift(model: PixelCnnModel, plan: Plan) -> int:
    return model.settings.max_shift if plan.max_shift is None else plan.max_shift


def _of_class(
    model: PixelCnnModel, predictor: Predictor, task: _Task, plan: Plan
) -> dict[str, float]:
    row = f"{model.folder.name} ({model.age})"

    def nats(weights: Weights) -> float:
        return float(predictor.nats(weights, task.support, task.others).mean())

    if model.settings.is_conditional:
        return {f"{row}, {model.settings.network.condition}": nats(model.weights)}
    rates = _rates(model, plan)
    found = {}
    for rate in rates:
        weights: Weights = model.weights
        taken = 0
        for steps in _steps(model, plan):
            # On from where the row before ended: plain SGD has no other state.
            going = range(taken, steps)
            weights = predictor.adapt(weights, task.support, rate, task.seed, going)
            taken = steps
            at = f", rate {rate:g}" if len(rates) > 1 else ""
            at += f", moves up to {predictor.max_shift}" if predictor.max_shift else ""
            found[f"{row}, K = {steps}{at if steps else ''}"] = nats(weights)
    return found
