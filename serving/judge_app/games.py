"""Games: twenty trials each, in an order of their own, with what was answered so far."""

import dataclasses
import pathlib
import secrets
from collections.abc import Sequence

import numpy as np

from figr_common import answers
from figr_common.answers import PERSON, SIDES, Answer
from figr_common.decks import ROUND, Deck
from serving.pages.refusal import Refusal

_MOST = 10_000  # Games; each takes a kilobyte.


@dataclasses.dataclass
class Game:
    """order: trials of the deck, a round of it. answers: to the first of them."""

    name: str
    order: tuple[int, ...]
    answers: list[Answer] = dataclasses.field(default_factory=list)

    @property
    def is_finished(self) -> bool:
        """Whether every trial of it has an answer."""
        return len(self.answers) == len(self.order)


class Games:
    """All games of a deck, in memory and, if so wished, in a file.

    Args:
        file: every answer is appended to it at once; None keeps them in memory alone.
        former: what the file held before. Games that it breaks off can be gone on with.
    """

    def __init__(self, deck: Deck, file: pathlib.Path | None, former: Sequence[Answer] = ()):
        self.deck = deck
        self.file = file
        self._games: dict[str, Game] = {}
        for answer in former:
            if answer.deck == deck.digest and answer.player == PERSON:
                self._take_up(answer)

    def begin(self) -> Game:
        """A new game, of the round that was played least.

        Raises Refusal (503) if there are too many.
        """
        if len(self._games) >= _MOST:
            raise Refusal(503, "Too many games were begun here. Start serving.judge anew.")
        played = [game.order[0] // ROUND for game in self._games.values()]
        # So that all trials of a deck get about as many answers.
        least = min(range(self.deck.num_rounds), key=played.count)
        # Not to be guessed, since whoever knows the name can answer.
        name = secrets.token_hex(8)
        self._games[name] = Game(name, _order(name, least))
        return self._games[name]

    def find(self, name: str) -> Game:
        """Raises Refusal (404)."""
        if name not in self._games:
            raise Refusal(404, "This game is not known here any more. Begin another one.")
        return self._games[name]

    def answer(self, game: Game, number: int, side: str, seconds: float) -> None:
        """Takes the answer to trial `number` of a game, from 0.

        Raises:
            Refusal: 409 if another trial is due, because this one was answered in another window.
        """
        if number != len(game.answers) or game.is_finished:
            raise Refusal(409, "This trial has been answered already.")
        trial, deck = game.order[number], self.deck
        answer = Answer(
            deck=deck.digest,
            demonstration=deck.facts["demonstration"],
            player=PERSON,
            game=game.name,
            trial=trial,
            character=str(deck.classes[trial]),
            source=str(deck.sources[trial]),
            generated=SIDES[deck.answers[trial]],
            answer=side,
            seconds=round(seconds, 3),
        )
        # The file first: an answer that counts is one that is kept.
        if self.file:
            answers.append(self.file, answer)
        game.answers.append(answer)

    def answers(self) -> list[Answer]:
        """Of all games."""
        return [answer for game in self._games.values() for answer in game.answers]

    def _take_up(self, answer: Answer) -> None:
        order = _order(answer.game, answer.trial // ROUND)
        game = self._games.setdefault(answer.game, Game(answer.game, order))
        # In the order of the game alone: of a line that stands there twice the second is not due.
        if not game.is_finished and game.order[len(game.answers)] == answer.trial:
            game.answers.append(answer)


def _order(name: str, number: int) -> tuple[int, ...]:
    """A game's name says the order of its round, so that its answers alone bring it back."""
    rng = np.random.default_rng(list(name.encode()))
    return tuple(int(i) + number * ROUND for i in rng.permutation(ROUND))
