"""Decks: files of trials in which people tell real drawings from generated ones.

Evaluation writes them and the judge's page reads them; NumPy is all that either needs for it.
"""

import dataclasses
import hashlib
import json
import pathlib
import zipfile
from typing import Any

import numpy as np

ROUND = 20  # Trials of one game: two minutes.
REAL = "real held-out"  # The source whose generated group is real as well: nobody can tell it.
_FORMAT = "figr deck 1"
_FACTS = {"format", "data", "demonstration", "sources", "seed"}
_ARRAYS = {"support": 4, "groups": 5, "sources": 1, "classes": 1, "answers": 1, "facts": 0}
_MAX_BYTES = 64 * 2**20  # Of the arrays; a small file can hold a huge one.


class DeckError(ValueError):
    """A file that is no deck; one line says what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class Deck:
    """T trials, round after round of `ROUND`; no class comes twice.

    Attributes:
        support: uint8 [T, n, S, S], dark ink, the drawings that the generator was given.
        groups: uint8 [T, 2, m, S, S], left and right; one is real, the other generated.
        sources: T names of what generated it. classes: T names of the characters.
        answers: uint8 [T], the side that is generated, 0 left and 1 right.
        facts: data (where the drawings come from, a sentence), demonstration (whether nothing can
            be learned from it about a model on its own data), sources (name → a sentence), seed.
        digest: sha256 of the file it was read from, in short; empty before.
    """

    support: np.ndarray
    groups: np.ndarray
    sources: np.ndarray
    classes: np.ndarray
    answers: np.ndarray
    facts: dict[str, Any]
    digest: str = ""

    @property
    def num_rounds(self) -> int:
        """Rounds of `ROUND` trials each."""
        return len(self.support) // ROUND

    def write(self, path: pathlib.Path) -> None:
        """Raises DeckError if the parts do not fit each other."""
        _check(self)
        facts = json.dumps({"format": _FORMAT} | self.facts, sort_keys=True)
        names = _ARRAYS.keys() - {"facts"}
        arrays = {name: getattr(self, name) for name in sorted(names)} | {"facts": np.array(facts)}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)


def read(path: pathlib.Path) -> Deck:
    """Raises DeckError for what is no deck, or a damaged one."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise DeckError(f"{size / 2**20:.0f} MiB of arrays are more than {_MAX_BYTES >> 20}")
        with np.load(path, allow_pickle=False) as arrays:
            if missing := sorted(_ARRAYS.keys() - set(arrays.files)):
                raise DeckError(f"it has no {missing[0]}")
            parts = {name: arrays[name] for name in _ARRAYS}
        facts = json.loads(str(parts.pop("facts")))
        deck = Deck(**parts, facts=facts, digest=hashlib.sha256(data).hexdigest()[:16])
        if facts.get("format") != _FORMAT:
            raise DeckError(f"its format is {facts.get('format')!r}, not {_FORMAT!r}")
        _check(deck)
    except OSError as error:
        raise DeckError(f"{path}: cannot be read ({error.strerror}).") from error
    except DeckError as error:
        raise DeckError(
            f"{path}: not a deck: {error}. Write one with figr_tf.evaluate --write_deck."
        ) from error
    # Damaged zip entries and arrays raise whatever their decoders do.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DeckError(
            f"{path}: not a deck ({reason}). Write one with figr_tf.evaluate --write_deck."
        ) from error
    return deck


def _check(deck: Deck) -> None:
    count = len(deck.support)
    for name, rank in _ARRAYS.items():
        array = getattr(deck, name)
        if name != "facts" and (array.ndim != rank or len(array) != count):
            raise DeckError(f"{name} has the shape {list(array.shape)}")
    if not count or count % ROUND:
        raise DeckError(f"{count} trials are not whole rounds of {ROUND}")
    drawings = (deck.support, deck.groups)
    if any(array.dtype != np.uint8 for array in (*drawings, deck.answers)):
        raise DeckError("drawings and answers must be of the type uint8")
    if deck.groups.shape[1] != 2 or not all(array.size for array in drawings):
        raise DeckError(f"groups has the shape {list(deck.groups.shape)}")
    if (
        deck.support.shape[2:] != deck.groups.shape[3:]
        or deck.support.shape[2] != deck.support.shape[3]
    ):
        raise DeckError("the drawings are not squares of one size")
    if (deck.answers > 1).any():
        raise DeckError("an answer is neither left (0) nor right (1)")
    missing = sorted((_FACTS - {"format"}) - set(deck.facts))
    if missing:
        raise DeckError(f"its facts lack {missing[0]!r}")
    if unknown := sorted(set(map(str, deck.sources)) - set(deck.facts["sources"])):
        raise DeckError(f"its facts say nothing about {unknown[0]!r}")
