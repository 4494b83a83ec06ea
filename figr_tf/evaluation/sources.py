"""What real drawings are to be told from: decks for people and the stand-in draw on the same."""

import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import numpy as np

from figr_common.decks import REAL
from figr_tf import models
from figr_tf.core.errors import DataError, UserError
from figr_tf.core.weights import sha256
from figr_tf.data.splits import Split
from figr_tf.evaluation import foreign, reference_rows
from figr_tf.evaluation.episodes import Episode, from_json, refuse_other_drawings

_KINDS = {
    "gan": "FIGR, adapted to the four drawings in K = {k} inner steps",
    "warp": "a network that redraws the four drawings; it does not adapt",
}

# All drawings of a class, uint8 [count, S, S, 1], the episode, m and a seed → uint8 [m, S, S, 1].
Draw = Callable[[np.ndarray, Episode, int, int], np.ndarray]


class Source(NamedTuple):
    """What real drawings are to be told from.

    Attributes:
        draw: makes m drawings.
        about: what it is, for people: a phrase.
        weights_sha256: of a model's weights; None for what is no model.
    """

    draw: Draw
    about: str
    weights_sha256: str | None = None


def _real(drawings: np.ndarray, episode: Episode, m: int, _: int) -> np.ndarray:
    """Held-out drawings H, without replacement; as many as there are, if there are not m."""
    return drawings[episode.held_out[:m]]


def _reference(make: Callable[..., np.ndarray]) -> Draw:
    def draw(drawings: np.ndarray, episode: Episode, m: int, seed: int) -> np.ndarray:
        return make(drawings[episode.support], m, np.random.default_rng(seed))

    return draw


def _of_model(name: str, image_shape: tuple[int, ...]) -> Source:
    model, kind = models.load(name), models.system_of(models.find(name))

    def draw(drawings: np.ndarray, episode: Episode, m: int, seed: int) -> np.ndarray:
        return model.generate(drawings[episode.support], m, seed)

    about = _KINDS.get(kind, f"a model of the kind {kind}").format(k=model.num_inner_steps)
    try:
        # A trial drawing now: a model of another image size would fail after minutes.
        # One inner step is enough to see whether it takes such drawings.
        steps = None if model.num_inner_steps is None else 1
        _ = model.generate(np.full((2, *image_shape), 255, np.uint8), 1, 0, steps)
    except ValueError as error:
        raise UserError(f"{name}: cannot draw from these drawings: {error}.") from error
    weights = [v for group in model.meta_weights().values() for v in group]
    return Source(draw, about, sha256(weights))


def of_folder(
    folder: pathlib.Path, episode_file: pathlib.Path, classes: Mapping[str, np.ndarray]
) -> Source:
    """Images that were drawn for the episodes of a file, a folder for each class.

    Args:
        classes: name → all of its drawings.

    Raises:
        DataError: it is no such file, or of other drawings; when drawn from, other episodes than
            those, or images that are missing, too few or unreadable.
    """
    episodes, facts = from_json(episode_file)
    recorded = {episode.class_name: episode for episode in episodes}
    refuse_other_drawings(episode_file, facts, classes)

    def draw(drawings: np.ndarray, episode: Episode, m: int, _: int) -> np.ndarray:
        name = episode.class_name
        if name not in recorded or not foreign.are_equal(recorded[name], episode):
            raise DataError(
                f"{episode_file}: has no episode of {name} with this support. Write it for the same"
                " split, --num_shots and --num_classes."
            )
        return foreign.images_of_class(folder, name, m, drawings.shape)

    return Source(draw, f"images of {folder.name}")


def refuse_seen(model_names: Collection[str], class_names: Collection[str]) -> None:
    """Models are told from real drawings of classes that they have not seen, or not at all.

    Raises:
        UserError: a model was trained on some of them. RunError: it has no record of its split.
    """
    mend = "Name a run of another split."
    for name in model_names:
        Split.of_run(models.find(name)).refuse_seen(name, class_names, mend)


def choose(model_names: list[str], image_shape: tuple[int, ...]) -> Mapping[str, Source]:
    """Source by name, in the order of every table: real, the models, small affine, copies.

    Args:
        model_names: shipped models or run folders. image_shape: S, S and C of the drawings.

    Raises:
        UserError: a model that cannot be loaded or takes no such drawings; two of one name.
    """
    rows = {REAL: Source(_real, "other real drawings: nobody can tell them")}
    for name in model_names:
        row = name.rstrip("/").rpartition("/")[2]
        if row in rows:
            raise UserError(f"{name}: another row has the name {row}. Name its folder otherwise.")
        rows[row] = _of_model(name, image_shape)
    small, copies = reference_rows.small_affine, reference_rows.copies
    rows["small affine"] = Source(
        _reference(small), "the four drawings, a little rotated, scaled, sheared and shifted"
    )
    rows["copies"] = Source(
        _reference(copies), "the four drawings themselves, drawn with replacement"
    )
    return rows
