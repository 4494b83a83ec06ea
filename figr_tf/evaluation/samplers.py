"""Chooses what is judged, and makes it of a run; what was made elsewhere is in `foreign`."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from figr_tf import models
from figr_tf.core import runs, trained
from figr_tf.core.errors import UserError
from figr_tf.data import datasets
from figr_tf.data.splits import Split
from figr_tf.evaluation import foreign
from figr_tf.evaluation.episodes import Episode
from figr_tf.evaluation.judged import ONLY_ROW, STEPS, Judged, Sizes, refuse_steps, row_of
from figr_tf.evaluation.protocol import Plan, cached
from figr_tf.gan.generation import FewShotModel
from figr_tf.gan.networks import build_networks
from figr_tf.warp.model import WarpModel

_LEAST_CONTROL = 50  # Inner steps: below them an untrained pair has drawn nothing yet.
# Part of the names of samples that are kept. Raise it when the same weights and settings draw
# others: 2 since real images come in turn with a pool of latents.
_DRAWS_AS = 2


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
    sizes = Sizes(num_shots, num_samples)
    if run:
        folder = models.find(run)
        models.refuse_classifier(run)
        system = models.system_of(folder)
        if system == "warp":
            refuse_steps(steps, f"{run}: is a redrawing network, which has no inner loop")
            return _warp_run(folder, sizes)
        if system in ("pixelcnn", "sequences"):
            # Runs that draw nothing from a support set, such as those of a text, say so here.
            models.load(folder)
            raise UserError(
                f"{run}: is a run of {system!r}, whose drawings are judged as --samples, as"
                " figr_tf.write_samples writes them (docs/evaluation.md)."
                f" figr_tf.evaluate_{system} judges its likelihood."
            )
        return _run(folder, sizes, steps, cache_dir)
    if saved_model:
        return foreign.saved_model(pathlib.Path(saved_model), sizes, steps)
    refuse_steps(steps, "steps are a run's or an export's")
    if samples and episodes:
        return foreign.folder(pathlib.Path(samples), pathlib.Path(episodes), sizes)
    return Judged("reference rows", {}, None, "", lambda dataset, plan: None, *sizes.of())


def _run(path: pathlib.Path, sizes: Sizes, asked: list[int], cache_dir: str | None) -> Judged:
    model = models.load_figr(path)
    steps = asked or sorted({*STEPS, model.num_inner_steps})
    settings = model.settings
    num_shots, num_samples = sizes.of(settings.num_shots)
    # The control: the same pair at its initial weights tells what meta-training brings.
    untrained = FewShotModel(
        build_networks(settings.network, settings.seed), settings, 0, model.augmentation
    )

    controls = [k for k in steps if k >= _LEAST_CONTROL] or steps[-1:]

    def sample(support: np.ndarray, _: Episode, seed: int) -> dict[str, np.ndarray]:
        names = ["initialisation, 0 steps", *map(row_of, steps)]
        drawn = model.samples_along(support, [0, *steps], num_samples, seed)
        rows = dict(zip(names, drawn, strict=True))
        if seed:  # The control costs as much as the model, so one seed has to do.
            return rows
        drawn = untrained.samples_along(support, controls, num_samples, seed)
        return rows | dict(zip([f"untrained, K = {k}" for k in controls], drawn, strict=True))

    facts = {"run": path.name, "meta_step": model.meta_step, "settings": settings.identity()}
    key = facts | {"steps": steps, "controls": controls, "num_samples": num_samples}
    key["draws_as"] = _DRAWS_AS
    folder = path / "evaluation"
    # It may lie in an installed package, and that be read-only.
    if runs.RunFolder(path).is_packaged():
        data = dataclasses.replace(settings.data, cache_dir=cache_dir)
        folder = datasets.cache_dir(data) / "evaluation"
        key["weights_sha256"] = trained.weights_sha256(path)
    return Judged(
        name=path.name,
        facts=facts,
        sampler=cached(sample, folder, key),
        row=row_of(steps[-1]),
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
        mend = "Leave --dataset away to judge it on those that it has not seen."
        Split.of_run(path).refuse_seen(path, plan.classes, mend)

    return check


def _warp_run(path: pathlib.Path, sizes: Sizes) -> Judged:
    model = WarpModel(path)
    settings = model.settings
    num_shots, num_samples = sizes.of(settings.num_shots)

    def sample(support: np.ndarray, _: Episode, seed: int) -> dict[str, np.ndarray]:
        return {ONLY_ROW: model.generate(support, num_samples, seed)}

    return Judged(
        name=path.name,
        # What the exporter knows it by.
        facts={
            "run": path.name,
            "meta_step": model.meta_step,
            "weights_sha256": model.weights_sha256,
        },
        sampler=sample,
        row=ONLY_ROW,
        check=_check_split(path),
        check_other_data=_check_classes(path, settings.data.dataset),
        num_shots=num_shots,
        num_samples=num_samples,
        data_settings=settings.data,
        class_size=settings.class_size,
        image_form=(settings.data.image_size, settings.data.channels),
    )
