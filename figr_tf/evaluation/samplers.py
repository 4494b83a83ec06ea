"""What can be judged: a run, an exported SavedModel, anyone's images, or the references alone."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from figr_common import images, scaling
from figr_tf import models
from figr_tf.core import runs, trained
from figr_tf.core.errors import DataError, UserError, listing
from figr_tf.data import datasets
from figr_tf.data.splits import Split
from figr_tf.evaluation.episodes import Episode, from_json
from figr_tf.evaluation.protocol import SAMPLES_PER_SHOT, Plan, Sampler, cached
from figr_tf.gan.generation import FewShotModel
from figr_tf.gan.networks import build_networks
from figr_tf.warp.model import WarpModel

_LEAST_CONTROL = 50  # Inner steps: below them an untrained pair has drawn nothing yet.
_STEPS = (10, 50)  # Inner steps where none are asked for.
_ONLY_ROW = "model"  # Of one that has no inner steps to choose.


class Judged(NamedTuple):
    """Something to judge.

    Attributes:
        name: for the report.
        facts: what is worth recording about it.
        sampler: None for the reference rows alone.
        row: the one that pictures show.
        num_shots, num_samples: n and M, as asked for or as fits it.
        data_settings: the data that it was trained on, None if that is not known.
        class_size: how many drawings a class of that had at the least.
        image_form: S and C, None if it takes any.
        check: raises UserError if it does not fit the data or the plan.
        check_other_data: raises UserError if it was trained on classes of the plan, although the
            data are not taken from its own settings.
        all_seeds: whether it can be sampled for other episodes than those of the first seed.
    """

    name: str
    facts: dict[str, Any]
    sampler: Sampler | None
    row: str
    check: Callable[[datasets.Dataset, Plan], None]
    num_shots: int
    num_samples: int
    data_settings: datasets.DataSettings | None = None
    class_size: int = 1
    image_form: tuple[int, int] | None = None
    all_seeds: bool = True
    check_other_data: Callable[[datasets.DataSettings, datasets.Dataset, Plan], None] = (
        lambda settings, dataset, plan: None
    )


def choose(
    run: str | None,
    saved_model: str | None,
    samples: str | None,
    episodes: str | None,
    num_samples: int | None,
    steps: list[int],
    cache_dir: str | None = None,
    num_shots: int | None = None,
) -> Judged:
    """What the command's flags name.

    Args:
        run, saved_model, samples: one of them at most.
        num_samples: M, None for 16·n.
        steps: rising numbers of inner steps, ≥ 1; none for 10, 50 and those that a run draws with
            where nobody says.
        num_shots: n, None for that of the run's training, or 4.
        cache_dir: where the samples of a packaged model are kept; those of a run are kept with it.

    Raises:
        UserError: it cannot be loaded; the text says why.
    """
    sizes = _Sizes(num_shots, num_samples)
    if run:
        folder = models.find(run)
        models.refuse_classifier(run)
        system = models.system_of(folder)
        if system == "warp":
            return _warp_run(folder, sizes)
        if system == "pixelcnn":
            raise UserError(
                f"{run}: is a run of 'pixelcnn', whose drawings are too small to be judged"
                " directly. figr_tf.evaluate_pixelcnn judges its likelihood; its samples are"
                " judged as --samples (docs/likelihood.md)."
            )
        return _run(folder, sizes, steps, cache_dir)
    if saved_model:
        return _saved_model(pathlib.Path(saved_model), sizes, steps)
    if samples and episodes:
        return _folder(pathlib.Path(samples), pathlib.Path(episodes), sizes)
    return Judged("reference rows", {}, None, "", lambda dataset, plan: None, *sizes.of())


class _Sizes(NamedTuple):
    """n and M as asked for; None where the judged decides."""

    num_shots: int | None
    num_samples: int | None

    def of(self, trained_shots: int = 4) -> tuple[int, int]:
        """n and M for something that was trained with so many shots."""
        num_shots = self.num_shots or trained_shots
        return num_shots, self.num_samples or SAMPLES_PER_SHOT * num_shots


def _row(k: int) -> str:
    return f"model, K = {k}"


def _run(path: pathlib.Path, sizes: _Sizes, asked: list[int], cache_dir: str | None) -> Judged:
    model = models.load_figr(path)
    steps = asked or sorted({*_STEPS, model.num_inner_steps})
    settings = model.settings
    num_shots, num_samples = sizes.of(settings.num_shots)
    # The control: the same pair at its initial weights tells what meta-training brings.
    untrained = FewShotModel(
        build_networks(settings.network, settings.seed), settings, 0, model.augmentation
    )

    controls = [k for k in steps if k >= _LEAST_CONTROL] or steps[-1:]

    def sample(support: np.ndarray, _: Episode, seed: int) -> dict[str, np.ndarray]:
        names = ["initialisation, 0 steps", *map(_row, steps)]
        drawn = model.samples_along(support, [0, *steps], num_samples, seed)
        rows = dict(zip(names, drawn, strict=True))
        if seed:  # The control costs as much as the model, so one seed has to do.
            return rows
        drawn = untrained.samples_along(support, controls, num_samples, seed)
        return rows | dict(zip([f"untrained, K = {k}" for k in controls], drawn, strict=True))

    facts = {"run": path.name, "meta_step": model.meta_step, "settings": settings.identity()}
    key = facts | {"steps": steps, "controls": controls, "num_samples": num_samples}
    folder = path / "evaluation"
    if trained.is_packaged(path):  # It may lie in an installed package, and that be read-only.
        data = dataclasses.replace(settings.data, cache_dir=cache_dir)
        folder = datasets.cache_dir(data) / "evaluation"
        key["weights_sha256"] = trained.weights_sha256(path)
    return Judged(
        name=path.name,
        facts=facts,
        sampler=cached(sample, folder, key),
        row=_row(steps[-1]),
        check=_check_split(path),
        check_other_data=_check_classes(path, settings.data.dataset),
        num_shots=num_shots,
        num_samples=num_samples,
        data_settings=settings.data,
        class_size=max(settings.num_shots, settings.task_pool or 0),
        image_form=(settings.data.image_size, settings.data.channels),
    )


def _check_split(path: pathlib.Path) -> Callable[[datasets.Dataset, Plan], None]:
    def check(dataset: datasets.Dataset, _: Plan) -> None:
        # Under another split the run would be judged on classes that it was trained on.
        split = Split.of_run(path)
        runs.refuse_difference(
            path, {"split": split.describe()}, {"split": dataset.split.describe()}
        )

    return check


def _check_classes(
    path: pathlib.Path, trained_on: str
) -> Callable[[datasets.DataSettings, datasets.Dataset, Plan], None]:
    def check(settings: datasets.DataSettings, dataset: datasets.Dataset, plan: Plan) -> None:
        if settings.dataset != trained_on:
            return
        # Names say what a class is, but in folders: another folder's "cat" is another class.
        recorded = runs.RunFolder(path).read_identity().get("data_sha256")
        if trained_on == "folder" and dataset.facts()["data_sha256"] != recorded:
            return
        seen = sorted(set(Split.of_run(path).training) & set(plan.classes))
        if seen:
            raise UserError(
                f"{path}: was trained on {len(seen)} of these {len(plan.classes)} classes:"
                f" {listing(seen)}. Leave --dataset away to judge it on those that it has not seen."
            )

    return check


def _warp_run(path: pathlib.Path, sizes: _Sizes) -> Judged:
    model = WarpModel(path)
    settings = model.settings
    num_shots, num_samples = sizes.of(settings.num_shots)

    def sample(support: np.ndarray, _: Episode, seed: int) -> dict[str, np.ndarray]:
        return {_ONLY_ROW: model.generate(support, num_samples, seed)}

    return Judged(
        name=path.name,
        facts={"run": path.name, "weights_sha256": model.weights_sha256},
        sampler=sample,
        row=_ONLY_ROW,
        check=_check_split(path),
        check_other_data=_check_classes(path, settings.data.dataset),
        num_shots=num_shots,
        num_samples=num_samples,
        data_settings=settings.data,
        class_size=settings.class_size,
        image_form=(settings.data.image_size, settings.data.channels),
    )


def _saved_model(path: pathlib.Path, sizes: _Sizes, asked: list[int]) -> Judged:
    steps = asked or list(_STEPS)
    num_shots, num_samples = sizes.of()
    try:
        signature = tf.saved_model.load(str(path)).signatures["generate_tensor"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not a SavedModel with a generate_tensor signature ({error})."
        ) from error

    takes = signature.structured_input_signature[1]
    adapts = "num_inner_steps" in takes
    # [n, H, W, C], of which H and W are alike.
    size, channels = takes["support_images"].shape[2:]

    def draw(support: np.ndarray, seed: int, **inner_steps: tf.Tensor) -> np.ndarray:
        unit, m = tf.constant(scaling.uint8_to_unit(support)), tf.constant(num_samples)
        # Every input by name: a signature that is called here fills in no defaults.
        try:
            answer = signature(
                support_images=unit, num_samples=m, seed=tf.constant(seed, tf.int64), **inner_steps
            )
        # What it was exported to take, its contract says.
        except tf.errors.InvalidArgumentError as error:
            said = str(error.message).strip().splitlines()[0]
            raise UserError(f"{path}: refuses the request: {said}") from error
        return scaling.signed_to_uint8(scaling.unit_to_signed(answer["images"].numpy()))

    def sample(support: np.ndarray, _: Episode, seed: int) -> dict[str, np.ndarray]:
        if not adapts:
            return {_ONLY_ROW: draw(support, seed)}
        return {_row(k): draw(support, seed, num_inner_steps=tf.constant(k)) for k in steps}

    row = _row(steps[-1]) if adapts else _ONLY_ROW
    return Judged(
        name=path.name,
        facts={"saved_model": path.name},
        sampler=sample,
        row=row,
        check=lambda dataset, plan: None,
        num_shots=num_shots,
        num_samples=num_samples,
        image_form=(size, channels),
    )


def _folder(path: pathlib.Path, episode_file: pathlib.Path, sizes: _Sizes) -> Judged:
    recorded, facts = from_json(episode_file)
    num_shots, num_samples = sizes.of()

    def sample(support: np.ndarray, episode: Episode, seed: int) -> dict[str, np.ndarray]:
        folder = path / episode.class_name
        files = sorted(p for p in folder.glob("*") if images.is_image_name(p.name))
        if not files:
            raise DataError(
                f"{folder}: no images of this class. Each class of {episode_file} needs a folder of"
                " them."
            )
        # With few, copies of the support look like real drawings.
        if len(files) < num_samples:
            raise DataError(
                f"{folder}: {len(files)} images; a class is judged by {num_samples}"
                f" (--num_samples, at least {SAMPLES_PER_SHOT}·n)."
            )
        try:
            # As they are: whitening their paper would judge other pictures than were drawn.
            decoded = []
            for file in files[:num_samples]:
                decoded.append(
                    images.decode_image(file.read_bytes(), support.shape[1], support.shape[3])
                )
        except (images.ImageError, OSError) as error:
            raise DataError(f"{file}: {error}.") from error
        return {"samples": np.stack(decoded)}

    def check(dataset: datasets.Dataset, plan: Plan) -> None:
        now = {
            # What decides the episodes. Other drawings would be judged against them in silence.
            "split_sha256": dataset.split.digest(),
            "num_shots": plan.num_shots,
            "classes": len(plan.classes),
        }
        runs.refuse_difference(episode_file, facts | {"classes": len(recorded)}, now)
        for then, now_drawn in zip(recorded, plan.episodes(plan.seeds[0]), strict=True):
            if not _are_equal(then, now_drawn):
                raise DataError(
                    f"{episode_file}: its episode of {then.class_name} is not the one drawn now."
                    " Write it anew."
                )

    return Judged(
        name=path.name,
        facts={"samples": path.name},
        sampler=sample,
        row="samples",
        check=check,
        num_shots=num_shots,
        num_samples=num_samples,
        all_seeds=False,
    )


def _are_equal(a: Episode, b: Episode) -> bool:
    """Whether two episodes are of the same class and the same drawings."""
    (name_a, *drawings_a), (name_b, *drawings_b) = a, b
    return name_a == name_b and all(map(np.array_equal, drawings_a, drawings_b))
