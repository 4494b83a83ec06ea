"""What was made elsewhere and can be judged: an exported SavedModel, or anyone's images."""

import json
import pathlib
import re

import numpy as np
import tensorflow as tf
from absl import logging

from figr_common import images, scaling
from figr_tf.core.errors import DataError, UserError
from figr_tf.data import datasets
from figr_tf.evaluation.episodes import Episode, drawings_sha256, from_json
from figr_tf.evaluation.judged import ONLY_ROW, STEPS, Judged, Sizes, refuse_steps, row_of
from figr_tf.evaluation.protocol import Plan

# Of a guard in the graph, among the lines that TensorFlow puts around it.
_SENTENCE = re.compile(r"assertion failed: \[(.*)\]$", re.MULTILINE)


def saved_model(path: pathlib.Path, sizes: Sizes, asked: list[int]) -> Judged:
    """An export, through its signature `generate_tensor`.

    Args:
        asked: rising numbers of inner steps, none for `STEPS`.

    Raises:
        UserError: it has no such signature; when sampled, it refuses a request.
    """
    steps = asked or list(STEPS)
    num_shots, num_samples = sizes.of()
    try:
        signature = tf.saved_model.load(str(path)).signatures["generate_tensor"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path}: not a SavedModel with a generate_tensor signature ({error})."
        ) from error

    takes = signature.structured_input_signature[1]
    adapts = "num_inner_steps" in takes
    if not adapts:
        refuse_steps(asked, f"{path} has no inner loop")
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
            found = _SENTENCE.search(error.message)
            said = found[1] if found else " ".join(error.message.split())
            raise UserError(f"{path}: refuses the request: {said}") from error
        return scaling.signed_to_uint8(scaling.unit_to_signed(answer["images"].numpy()))

    def sample(support: np.ndarray, _: Episode, seed: int) -> dict[str, np.ndarray]:
        if not adapts:
            return {ONLY_ROW: draw(support, seed)}
        return {row_of(k): draw(support, seed, num_inner_steps=tf.constant(k)) for k in steps}

    def warn_of_other_split(
        settings: datasets.DataSettings, dataset: datasets.Dataset, _: Plan
    ) -> None:
        training = _training(path)
        if training.get("dataset") != settings.dataset:
            return
        # Not refused: a split without its smallest classes has another sha256, and is the same.
        if training.get("split_sha256") != dataset.split.digest():
            logging.warning(
                "%s: was trained on another split of %s and may have seen the classes that it is"
                " judged on. --run of its run checks that.",
                path,
                settings.dataset,
            )

    row = row_of(steps[-1]) if adapts else ONLY_ROW
    return Judged(
        name=path.name,
        facts={"saved_model": path.name},
        sampler=sample,
        row=row,
        check=lambda dataset, plan: None,
        check_other_data=warn_of_other_split,
        num_shots=num_shots,
        num_samples=num_samples,
        image_form=(size, channels),
    )


def images_of_class(
    path: pathlib.Path, class_name: str, count: int, shape: tuple[int, ...]
) -> np.ndarray:
    """The first images, by name, of a class' folder: uint8 [count, S, S, C].

    Args:
        path: has a folder for each class.
        shape: ends in S, S, C.

    Raises:
        DataError: they are missing, too few or unreadable.
    """
    own = path / class_name
    files = sorted(p for p in own.glob("*") if images.is_image_name(p.name))
    if not files:
        raise DataError(f"{own}: no images of this class. Each class needs a folder of them.")
    if len(files) < count:
        raise DataError(
            f"{own}: {len(files)} images; a class is judged by {count} (--num_samples)."
        )
    decoded = []
    for file in files[:count]:
        try:
            # As they are: whitening their paper would judge other pictures than were drawn.
            decoded.append(images.decode_image(file.read_bytes(), shape[-2], shape[-1]))
        except (images.ImageError, OSError) as error:
            raise DataError(f"{file}: {error}.") from error
    return np.stack(decoded)


def _training(path: pathlib.Path) -> dict:
    """What our exporter has written about an export's training; empty for anybody else's."""
    try:
        return json.loads((path / "assets.extra/contract.json").read_text())["training"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def folder(path: pathlib.Path, episode_file: pathlib.Path, sizes: Sizes) -> Judged:
    """A folder per class of images that were drawn for the episodes of a file.

    Raises:
        DataError: no such file; when sampled, images that are missing, too few or unreadable.
    """
    recorded, facts = from_json(episode_file)
    num_shots, num_samples = sizes.of()

    def sample(support: np.ndarray, episode: Episode, seed: int) -> dict[str, np.ndarray]:
        drawn = images_of_class(path, episode.class_name, num_samples, support.shape)
        return {"samples": drawn}

    def check(dataset: datasets.Dataset, plan: Plan) -> None:
        now = {
            # What decides the episodes. Other drawings would be judged against them in silence.
            "split_sha256": dataset.split.digest(),
            "num_shots": plan.num_shots,
            "classes": len(plan.classes),
            "image_size": dataset.data.images.shape[1],
            "channels": dataset.data.images.shape[3],
            "drawings_sha256": drawings_sha256(plan.classes),
        }
        then_facts = facts | {"classes": len(recorded)}
        for key, value in now.items():
            if then_facts.get(key) != value:
                raise DataError(
                    f"{episode_file}: was written for {key}={then_facts.get(key)}, this command has"
                    f" {value}. Give the same data, --num_shots and --num_classes, or write it"
                    " anew."
                )
        for then, now_drawn in zip(recorded, plan.episodes(plan.seeds[0]), strict=True):
            if not are_equal(then, now_drawn):
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


def are_equal(a: Episode, b: Episode) -> bool:
    """Whether two episodes are of the same class and the same drawings."""
    (name_a, *drawings_a), (name_b, *drawings_b) = a, b
    return name_a == name_b and all(map(np.array_equal, drawings_a, drawings_b))
