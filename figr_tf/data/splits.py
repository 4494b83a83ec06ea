"""Which classes are trained on and which are held out.

A split is stored with its run, and its hash stands in every checkpoint.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Collection, Iterable

import numpy as np

from figr_tf.core.errors import DataError, RunError, UserError, listing

# Five of Omniglot's 30 background alphabets, to choose settings on. They have no near relative
# among the other 25: Blackfoot and Inuktitut, say, share characters with Ojibwe.
VALIDATION_ALPHABETS = ("Balinese", "Futurama", "Korean", "N_Ko", "Syriac_(Estrangelo)")

# The five alphabets on which few-shot density models are compared (Reed et al. 2017,
# arXiv:1710.10304). Known at second hand: the names are from github.com/yenchenlin/omniglot-45-5.
TEST_ALPHABETS = ("Tengwar", "Sylheti", "Tibetan", "Syriac_(Serto)", "ULOG")


def is_validation(class_name: str) -> bool:
    """Whether an Omniglot class, "Alphabet/characterNN", is of a validation alphabet."""
    return class_name.split("/")[0] in VALIDATION_ALPHABETS


def is_test(class_name: str) -> bool:
    """Whether an Omniglot class is of one of the five test alphabets."""
    return class_name.split("/")[0] in TEST_ALPHABETS


@dataclasses.dataclass(frozen=True)
class Split:
    """Class names in sorted order.

    Attributes:
        name: such as "unseen-alphabets".
        training: those that meta-training may draw.
        held_out: those that it never sees.
    """

    name: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]

    def digest(self) -> str:
        """sha256 over both lists: equal exactly for equal splits."""
        return hashlib.sha256(json.dumps([self.training, self.held_out]).encode()).hexdigest()

    def describe(self) -> str:
        """Name, sizes and the start of the hash: enough to tell two splits apart in a message."""
        sizes = f"{len(self.training)} + {len(self.held_out)} classes"
        return f"{self.name} ({sizes}, sha256 {self.digest()[:12]})"

    def only(self, names: Iterable[str]) -> "Split":
        """Without the classes that are not among `names`; either side may come out empty."""
        kept = set(names)
        sides = ([n for n in side if n in kept] for side in (self.training, self.held_out))
        return Split(self.name, *map(tuple, sides))

    def refuse_seen(self, run: object, class_names: Collection[str], mend: str) -> None:
        """A run is not to be judged on the classes of its training.

        Args:
            run: whose split this is. class_names: to be judged on. mend: what to do instead.

        Raises:
            UserError: some of the classes are among those trained on.
        """
        if seen := sorted(set(self.training) & set(class_names)):
            raise UserError(
                f"{run}: was trained on {len(seen)} of these {len(class_names)} classes:"
                f" {listing(seen)}. {mend}"
            )

    def to_json(self) -> str:
        """Both lists and their sha256, as `read` takes them."""
        return json.dumps(dataclasses.asdict(self) | {"sha256": self.digest()}, indent=1)

    @classmethod
    def of_run(cls, folder: pathlib.Path) -> "Split":
        """The split that a run recorded.

        Raises:
            RunError: it is missing, or was altered since.
        """
        try:
            return cls.read(folder / "split.json")
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{folder}: its split cannot be read: {error}") from error

    @classmethod
    def read(cls, path: pathlib.Path) -> "Split":
        """Reads what `to_json` wrote.

        Raises:
            OSError: no such file.
            KeyError, ValueError: not a split, or altered since it was written.
        """
        fields = json.loads(path.read_text())
        split = cls(fields["name"], tuple(fields["training"]), tuple(fields["held_out"]))
        if split.digest() != fields["sha256"]:
            raise ValueError(
                f"{path}: the class lists do not match their sha256; the file was altered"
            )
        return split


def split_by(name: str, class_names: Iterable[str], is_held_out: Callable[[str], bool]) -> Split:
    """Holds out the classes of which `is_held_out` says so.

    Raises:
        DataError: either side is empty.
    """
    names = sorted(class_names)
    split = Split(
        name,
        tuple(n for n in names if not is_held_out(n)),
        tuple(n for n in names if is_held_out(n)),
    )
    if not split.training or not split.held_out:
        side = "training" if not split.training else "held-out"
        raise DataError(f"split {name!r} of {len(names)} classes leaves no {side} class.")
    return split


def random_split(name: str, class_names: Iterable[str], num_held_out: int, seed: int) -> Split:
    """Holds out `num_held_out` classes, drawn without replacement.

    The same seed and the same classes, in whatever order, give the same split.

    Raises:
        DataError: no class would be left to train on.
    """
    # Sorted, since file systems list folders in any order.
    names = sorted(class_names)
    if num_held_out >= len(names):
        raise DataError(
            f"split {name!r} would hold out {num_held_out} of {len(names)} classes; none would be"
            " left."
        )
    # By a generator of its own: what else draws random numbers has no part in it.
    held_out = set(np.random.default_rng(seed).choice(names, num_held_out, replace=False).tolist())
    return split_by(name, names, held_out.__contains__)
