"""What was answered in the trials of a deck: one JSON line an answer, of people and of networks."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

SIDES = ("left", "right")  # As in `Deck.answers`, 0 and 1.
PERSON, STAND_IN = "person", "stand-in"
_LONGEST = 86_400.0  # Seconds; more is no time that an answer took.


class AnswersError(ValueError):
    """A file that does not hold answers; one line says where and why."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """One trial, answered. Nothing in it says who answered, or when.

    Attributes:
        deck: digest of the deck. demonstration: whether its real drawings are a program's.
        player: PERSON or STAND_IN. game: random letters that the answers of a game share.
        trial: number in the deck, from 0. character: the class. source: of the generated group.
        generated: the side it was on. answer: the side that was named, both of `SIDES`.
        seconds: from the first sight of the trial to the answer; None for a stand-in.
    """

    deck: str
    demonstration: bool
    player: str
    game: str
    trial: int
    character: str
    source: str
    generated: str
    answer: str
    seconds: float | None

    @property
    def is_right(self) -> bool:
        """Whether the generated group was named."""
        return self.answer == self.generated

    def line(self) -> str:
        """JSON, with its end of line."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False) + "\n"


def read(path: pathlib.Path) -> list[Answer]:
    """Raises AnswersError for a file that cannot be read, or a line that is no answer."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise AnswersError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise AnswersError(f"{path}: not a file of answers: it is not text in UTF-8.") from error
    answers = []
    for number, line in enumerate(lines, 1):
        try:
            answers.append(_parsed(json.loads(line)))
        except (ValueError, TypeError, RecursionError) as error:
            raise AnswersError(
                f"{path}: line {number} is no answer ({error}). Remove it, or name another file."
            ) from error
    return answers


def append(path: pathlib.Path, answer: Answer) -> None:
    """Adds an answer to a file, on a line of its own whatever the file ends in.

    An editor may have left no end of line, and a full disk half a line.
    """
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
        file.write(answer.line().encode())


def merged(files: Iterable[list[Answer]]) -> list[Answer]:
    """The answers of all files; of a trial that a game answers twice, the first.

    Raises:
        AnswersError: a demonstration among others: its real drawings are not the same.
    """
    first: dict[tuple[str, str, int], Answer] = {}
    for answers in files:
        for answer in answers:
            first.setdefault((answer.deck, answer.game, answer.trial), answer)
    if len({answer.demonstration for answer in first.values()}) > 1:
        raise AnswersError(
            "some answers are about drawn glyphs, a demonstration, and some about characters by"
            " people's hands: report them one by one."
        )
    return list(first.values())


def is_duration(seconds: Any) -> bool:
    """Whether a value from JSON is a time that an answer may have taken."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return is_number and 0 <= seconds <= _LONGEST


def _parsed(fields: object) -> Answer:
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    expected = [field.name for field in dataclasses.fields(Answer)]
    if missing := [name for name in expected if name not in fields]:
        raise ValueError(f"it has no {missing[0]!r}")
    answer = Answer(**{name: fields[name] for name in expected})
    texts = (answer.deck, answer.game, answer.character, answer.source)
    fits = {
        "deck, game, character or source": all(isinstance(text, str) for text in texts),
        "demonstration": isinstance(answer.demonstration, bool),
        "player": answer.player in (PERSON, STAND_IN),
        "trial": type(answer.trial) is int and answer.trial >= 0,
        "generated": answer.generated in SIDES,
        "answer": answer.answer in SIDES,
        "seconds": answer.seconds is None or is_duration(answer.seconds),
    }
    if wrong := [name for name, is_right in fits.items() if not is_right]:
        raise ValueError(f"its {wrong[0]} is not what it should be")
    return answer
