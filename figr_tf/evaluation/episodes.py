"""Episodes: which drawings of a class are its support, which its reference, which are held out."""

import hashlib
import json
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from figr_tf.core.errors import DataError


class Episode(NamedTuple):
    """One class under one seed; indices into the class' drawings, disjoint.

    Attributes:
        support: S [n], what is adapted to. reference: R, what samples are compared with.
        held_out: H, real drawings in the place of samples.
    """

    class_name: str
    support: np.ndarray
    reference: np.ndarray
    held_out: np.ndarray


def choose_classes(class_names, num_classes: int, seed: int = 0) -> list[str]:
    """The same `num_classes` of the names for the same seed; all, if they are fewer."""
    names = sorted(class_names)
    if num_classes >= len(names):
        return names
    return sorted(np.random.default_rng(seed).choice(names, num_classes, replace=False).tolist())


def least_drawings(num_shots: int) -> int:
    """What a class must have to be judged: twice the support, and two each for R and H."""
    return max(2 * num_shots, num_shots + 4)


def draw_episode(class_name: str, count: int, num_shots: int, seed: int) -> Episode:
    """Draws n support drawings and halves the rest into R and H.

    The order depends on class name and seed alone.

    Raises:
        DataError: fewer than n + 4 drawings: R and H need two each.
    """
    if count < num_shots + 4:
        raise DataError(
            f"class {class_name}: {count} drawings are too few for {num_shots} + 2 + 2. Leave the"
            " class out."
        )
    # CRC-32, since Python's own hash of a text differs from process to process.
    order = np.random.default_rng([seed, zlib.crc32(class_name.encode())]).permutation(count)
    middle = num_shots + (count - num_shots) // 2
    return Episode(class_name, order[:num_shots], order[num_shots:middle], order[middle:])


def drawings_sha256(classes: Mapping[str, np.ndarray]) -> str:
    """Of all drawings of some classes in their order, in hexadecimal.

    It tells whether the numbers in an episode mean the same drawings.
    """
    digest = hashlib.sha256()
    for name in sorted(classes):
        digest.update(classes[name].tobytes())
    return digest.hexdigest()


def refuse_other_drawings(
    path: pathlib.Path, facts: dict[str, Any], classes: Mapping[str, np.ndarray]
) -> None:
    """Raises DataError if an episode file was written for other drawings, or another order.

    Args:
        facts: of the file; those of before it had a hash of the drawings are taken as they are.
        classes: name → all of its drawings, of exactly the classes of the file.
    """
    if facts.get("drawings_sha256", found := drawings_sha256(classes)) != found:
        raise DataError(
            f"{path}: was written for other drawings or classes, or for the same in another order,"
            " as tensorflow-datasets and a folder of zips give them. Give the same data and"
            " classes, or write it anew."
        )


def to_json(episodes: list[Episode], facts: dict[str, Any]) -> str:
    """The file that tells another generator what to adapt to.

    Drawings are numbered from 0 in the order of the data: that of their file names, or, where it
    came through tensorflow-datasets, that of its files.
    """
    rows = [
        {k: v if isinstance(v, str) else v.tolist() for k, v in e._asdict().items()}
        for e in episodes
    ]
    return json.dumps(facts | {"episodes": rows}, indent=1)


def from_json(path: pathlib.Path) -> tuple[list[Episode], dict[str, Any]]:
    """Episodes and facts of a file. Raises DataError if it is not one that `to_json` wrote."""
    try:
        facts = json.loads(path.read_text())
        rows = facts.pop("episodes")
        parts = ("support", "reference", "held_out")
        episodes = [
            Episode(row["class_name"], *(np.array(row[part], int) for part in parts))
            for row in rows
        ]
        return episodes, facts
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not an episode file ({error}). Write one with --write_episodes."
        ) from error
