"""One table of several runs and of what needs no training, all on the same held-out queries."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from figr_common import scaling
from figr_tf.classifier import baselines, episodes
from figr_tf.classifier.episodes import Drawings
from figr_tf.classifier.evaluation import Plan, Table, evaluate, over_runs
from figr_tf.classifier.model import ClassifierModel
from figr_tf.classifier.prediction import Accuracy
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.core import runs
from figr_tf.core.errors import UserError
from figr_tf.data.datasets import Dataset, cache_dir, load_dataset

_EMBEDDED_SIZE = 32  # Height and width of the grey images that the evaluation's embedding takes.

Embed = Callable[[np.ndarray], np.ndarray]  # uint8 [N, 32, 32, 1] → float32 [N, d]


class ReportRequest(NamedTuple):
    """What to report; see the flags of `figr_tf.evaluate_classifier`."""

    shots: list[int]
    num_tasks: int
    seed: int
    transductive: bool
    baselines: bool
    data_dir: str | None
    cache_dir: str | None


class Report(NamedTuple):
    """What came out.

    Attributes:
        facts: what the numbers depend on.
    """

    facts: dict[str, Any]
    table: Table

    def to_markdown(self) -> str:
        """The table alone."""
        return self.table.to_markdown()

    def text(self) -> str:
        """For people."""
        about = f"{self.facts['num_tasks']} tasks a column, split {self.facts['split']}"
        return f"per cent right ± 95 % interval, {about}\n\n{self.to_markdown()}"

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        columns, rows = self.table
        values: dict[str, dict[str, Any]] = {}
        for name, cells in rows.items():
            values[name] = {c: a._asdict() for c, a in zip(columns, cells, strict=True)}
        return self.facts | {"rows": values, "versions": runs.versions()}


def run(
    models: Sequence[ClassifierModel],
    joint: ClassifierModel | None,
    request: ReportRequest,
    embed: Embed,
) -> Report:
    """Evaluates runs of one data set, split and number of classes.

    Args:
        joint: a run with one inner step, which is joint training (arXiv:1803.02999, section 3):
            with SGD, Φ − W is then the gradient of a task's loss.

    Raises:
        UserError: runs that do not belong into one table, other data than they were trained on, or
            too few images for the shots.
        Interrupted: see `evaluation.evaluate`.
    """
    settings = models[0].settings
    judged = [*models, *([joint] if joint else [])]
    names = [model.name for model in judged]
    if len(set(names)) < len(names):
        raise UserError(
            f"{', '.join(names)}: two models have the same name, and so would their rows. Rename"
            " one's folder."
        )
    dataset = _load(settings, request)
    for model in judged:
        _refuse_other_data(model, dataset)
    for model in models:
        _refuse_other_settings(model, models[0], "seed")
    if joint:
        if joint.settings.inner.num_steps != 1:
            raise UserError(
                f"--joint={joint.name}: was trained with {joint.settings.inner.num_steps} inner"
                " steps. Joint training has one: train a run with --num_inner_steps=1."
            )
        _refuse_other_settings(joint, models[0], "seed", "inner.num_steps", "meta_step")
    num_classes = settings.network.num_classes
    held_out = dataset.split.held_out
    episodes.require(dataset, held_out, num_classes, max(request.shots) + 1)
    drawings = episodes.drawings_of(dataset, held_out)
    # Once for all columns: the features of an image do not depend on the task that it is in.
    features = _features(drawings, settings, request, embed) if request.baselines else {}
    rows: dict[str, list[Accuracy]] = {}
    for num_shots in request.shots:
        plan = Plan(num_classes, num_shots, request.num_tasks, request.seed)
        for name, accuracy in _column(models, joint, drawings, features, plan, request).items():
            rows.setdefault(name, []).append(accuracy)
    columns = [f"{num_classes}-way {num_shots}-shot" for num_shots in request.shots]
    return Report(_facts(judged, dataset, request), Table(columns, rows))


def _load(settings: ClassifierSettings, request: ReportRequest, **changes: Any) -> Dataset:
    data = settings.data.elsewhere(request.data_dir, request.cache_dir)
    return load_dataset(dataclasses.replace(data, **changes), settings.images_per_class)


def _refuse_other_data(model: ClassifierModel, dataset: Dataset) -> None:
    identity = runs.RunFolder(model.folder).read_identity()
    # Other data would be judged on other tasks, or on classes that were trained on.
    runs.refuse_difference(model.folder, identity, dataset.facts())


def _refuse_other_settings(
    model: ClassifierModel, first: ClassifierModel, *may_differ: str
) -> None:
    """A mean over runs that differ in more than their seed would be the mean of nothing."""
    one, other = (
        # The identity is of the training alone.
        m.settings.identity()
        | {
            "meta_step": m.meta_step,
            "eval_batch_size": m.settings.eval_batch_size,
            "eval_inner_steps": m.settings.eval_inner_steps,
        }
        for m in (first, model)
    )
    for name, value in one.items():
        if name not in may_differ and other.get(name) != value:
            raise UserError(
                f"{first.name} and {model.name} differ in {name}: {value} and {other.get(name)}."
                f" Runs in one table may differ in {', '.join(may_differ)} alone."
            )


def _features(
    drawings: Drawings, settings: ClassifierSettings, request: ReportRequest, embed: Embed
) -> dict[str, np.ndarray]:
    """float32 [N, d] of all held-out images, by the name of the space."""
    flat = drawings.pixels.reshape(len(drawings.pixels), -1)
    features = {"pixels": scaling.uint8_to_unit(flat)}
    # The embedding was trained on grey images.
    if settings.data.channels == 1:
        large = _load(settings, request, image_size=_EMBEDDED_SIZE)
        pixels = episodes.drawings_of(large, large.split.held_out).pixels
        features["evaluation's embedding"] = embed(pixels)
    return features


def _column(
    models: Sequence[ClassifierModel],
    joint: ClassifierModel | None,
    drawings: Drawings,
    features: dict[str, np.ndarray],
    plan: Plan,
    request: ReportRequest,
) -> dict[str, Accuracy]:
    rows: dict[str, Accuracy] = {}
    shown = ("plain", "transductive") if request.transductive else ("plain",)
    unadapted: dict[str, Accuracy] = {}
    for model in models:
        right = evaluate(model, drawings, plan, _records(model, request))
        for name in shown:
            rows[_row(model, name)] = Accuracy.of(right[name], plan.num_classes)
        unadapted[f"{model.name}, unadapted"] = Accuracy.of(right["unadapted"], plan.num_classes)
    if len(models) > 1:
        for name in shown:
            label = f"mean of {len(models)} runs ± half their range, {name}"
            rows[label] = over_runs(rows[_row(model, name)] for model in models)
    if joint:
        right = evaluate(joint, drawings, plan, _records(joint, request))
        for name in shown:
            label = f"joint training: {_row(joint, name)}"
            rows[label] = Accuracy.of(right[name], plan.num_classes)
    # Runs first, then what they are held against: a table is read from above.
    if not request.baselines:
        return rows
    rows |= unadapted
    tasks = plan.episodes(drawings)
    for space, values in features.items():
        for method in (baselines.prototypes, baselines.matching):
            right_of = baselines.num_right(method, values, tasks)
            rows[f"{method.__name__}, {space}"] = Accuracy.of(right_of, plan.num_classes)
    return rows


def _records(model: ClassifierModel, request: ReportRequest) -> pathlib.Path:
    """A packaged model may lie in an installed package, and that be read-only."""
    if not runs.RunFolder(model.folder).is_packaged():
        return model.folder
    return cache_dir(dataclasses.replace(model.settings.data, cache_dir=request.cache_dir))


def _row(model: ClassifierModel, method: str) -> str:
    return f"{model.name} ({model.age}), {method}"


def _facts(
    models: Sequence[ClassifierModel], dataset: Dataset, request: ReportRequest
) -> dict[str, Any]:
    return {
        "num_tasks": request.num_tasks,
        "seed": request.seed,
        **dataset.facts(),
        "runs": {
            model.name: {
                "meta_step": model.meta_step,
                "weights_sha256": model.weights_sha256,
                "settings": model.settings.identity(),
                "eval_batch_size": model.settings.eval_batch_size,
                "eval_inner_steps": model.settings.eval_inner_steps,
            }
            for model in models
        },
    }
