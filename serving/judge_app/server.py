"""What the page asks for: the deck, games, trials without their answers, results."""

import asyncio
import base64
import functools
import json
import pathlib
from typing import Any

from aiohttp import web

from figr_common import rendering
from figr_common.answers import SIDES, Answer, is_duration
from figr_common.decks import REAL, ROUND
from serving.judge_app import report
from serving.judge_app.games import Game, Games
from serving.pages import site
from serving.pages.refusal import Refusal

PAGE = pathlib.Path(__file__).parent / "page"
_MAX_BODY = 4096  # bytes


class Judge:
    """The application's state. Methods with `request` are its handlers.

    Args:
        stand_in: the stand-in's answers to the same deck, if there are any.
        public: reachable from other machines; then the name of the file is not told.
    """

    def __init__(self, games: Games, stand_in: list[Answer], public: bool):
        self._games = games
        self._stand_in = report.scores(stand_in)
        self._public = public
        # All rounds, of 9 MB each: if those that are being played took each other's place, each
        # answer would wait for a whole round to be drawn anew.
        self._pictures = functools.lru_cache(games.deck.num_rounds)(self._drawn)

    def application(self) -> web.Application:
        """The page and the addresses below /api."""
        app = site.application(PAGE, self._public, _MAX_BODY)
        app.router.add_get("/api/deck", self.deck)
        app.router.add_post("/api/games", self.begin)
        app.router.add_get("/api/games/{game}", self.game)
        app.router.add_post("/api/games/{game}/answers", self.answer)
        app.router.add_get("/api/games/{game}/trials/{number}", self.trial)
        return app

    async def deck(self, _: web.Request) -> web.Response:
        """What is judged here, and where answers are kept."""
        facts, file = self._games.deck.facts, self._games.file
        return web.json_response(
            {
                "data": facts["data"],
                "demonstration": facts["demonstration"],
                "trials": ROUND,
                "group": self._games.deck.groups.shape[2],
                "kept": bool(file),
                "file": str(file) if file and not self._public else None,
            }
        )

    async def begin(self, _: web.Request) -> web.Response:
        """→ {"game": its name}."""
        game = self._games.begin()
        # Drawn before the first trial is asked for, so that no answer takes longer than another.
        await asyncio.to_thread(self._pictures, game.order[0] // ROUND)
        return web.json_response({"game": game.name})

    async def game(self, request: web.Request) -> web.Response:
        """The trial that is due, or the results once there is none."""
        return await self._state(self._games.find(request.match_info["game"]))

    async def answer(self, request: web.Request) -> web.Response:
        """{"number": of the trial, from 0, "side": "left" or "right", "seconds": …} → as `game`."""
        game = self._games.find(request.match_info["game"])
        self._games.answer(game, *_parsed(await request.read()))
        return await self._state(game)

    async def trial(self, request: web.Request) -> web.Response:
        """The pictures of a trial that has been answered."""
        game = self._games.find(request.match_info["game"])
        number = request.match_info["number"]
        # Only trials that are behind the player: what is to come stays unseen.
        if not number.isdecimal() or len(number) > 9 or int(number) >= len(game.answers):
            raise Refusal(404, "This trial has not been answered yet.")
        return web.json_response(await self._trial(game, int(number)))

    async def _state(self, game: Game) -> web.Response:
        if game.is_finished:
            return web.json_response({"results": self._results(game)})
        number = len(game.answers)
        trial = await self._trial(game, number)
        return web.json_response({"trial": {"number": number, **trial}})

    async def _trial(self, game: Game, number: int) -> dict[str, Any]:
        trial = game.order[number]
        drawn = await asyncio.to_thread(self._pictures, trial // ROUND)
        return drawn[trial % ROUND]

    def _drawn(self, number: int) -> list[dict[str, list[str]]]:
        """The trials of a round as the browser gets them; all of their files are of one size."""
        deck, trials = self._games.deck, range(number * ROUND, (number + 1) * ROUND)
        return [
            {
                "support": _files(deck.support[i]),
                **{side: _files(deck.groups[i, k]) for k, side in enumerate(SIDES)},
            }
            for i in trials
        ]

    def _results(self, game: Game) -> dict[str, Any]:
        # Where both groups are real there is nothing to be right about.
        told = [answer for answer in game.answers if answer.source != REAL]
        everybody = self._games.answers()
        return {
            "right": sum(answer.is_right for answer in told),
            "of": len(told),
            "rows": self._rows(game.answers),
            "all": self._rows(everybody),
            "games": len({answer.game for answer in everybody}),
            "lines": "".join(answer.line() for answer in game.answers),
            "trials": [
                {
                    "source": answer.source,
                    "real": answer.source == REAL,
                    "generated": answer.generated,
                    "answer": answer.answer,
                }
                for answer in game.answers
            ],
        }

    def _rows(self, answers: list[Answer]) -> list[dict[str, Any]]:
        about = self._games.deck.facts["sources"]
        rows = []
        for source, result in report.scores(answers).items():
            stand_in = self._stand_in.get(source)
            rows.append(
                {"source": source, "about": about[source], **result._asdict()}
                | {"stand_in": stand_in._asdict() if stand_in else None}
            )
        return rows


def serve(judge: Judge, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM; prints where. Raises site.AddressTakenError."""
    site.serve(judge.application(), site.listen(host, port), host)


def _files(drawings) -> list[str]:
    return [base64.b64encode(rendering.png(drawing)).decode() for drawing in drawings]


def _parsed(body: bytes) -> tuple[int, str, float]:
    try:
        fields = json.loads(body)
        number, side, seconds = (fields[name] for name in ("number", "side", "seconds"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refusal(400, "Send number, side and seconds of an answer as JSON.") from error
    # JSON's true is a bool, which Python also takes for an int.
    if type(number) is not int or side not in SIDES or not is_duration(seconds):
        raise Refusal(400, "An answer is the number of its trial, left or right, and seconds.")
    return number, side, float(seconds)
