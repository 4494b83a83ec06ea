"""What the browser gets before an answer is in says nothing about the answer."""

import asyncio
import base64
import io
import json
import struct

import numpy as np
import pytest
from aiohttp import test_utils
from PIL import Image

from figr_common import rendering
from figr_common.answers import SIDES
from figr_common.decks import REAL, ROUND
from serving.judge_app.games import Games
from serving.judge_app.server import Judge
from tests.serving.demo.fakes import asynchronous
from tests.serving.judge import made


class Player:
    """Talks to a server as the page does, and keeps every reply as it came."""

    def __init__(self, deck):
        self.games = Games(deck, None)
        self._judge = Judge(self.games, [], public=False)

    async def __aenter__(self):
        server = test_utils.TestServer(self._judge.application())
        self._client = await test_utils.TestClient(server).__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._client.__aexit__(*error)

    async def get(self, path: str, status: int = 200) -> bytes:
        async with self._client.get(path) as response:
            assert response.status == status
            return await response.read()

    async def post(self, path: str, body: object = None, status: int = 200) -> bytes:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._client.post(path, data=data) as response:
            assert response.status == status
            return await response.read()

    async def begin(self) -> str:
        return json.loads(await self.post("/api/games"))["game"]

    async def play(self, name: str, choose=lambda trial: "left") -> list[bytes]:
        """The replies with the 20 trials, and the last one with the results."""
        replies = [await self.get(f"/api/games/{name}")]
        for number in range(ROUND):
            side = choose(self.games.find(name).order[number])
            answer = {"number": number, "side": side, "seconds": 1.5}
            replies.append(await self.post(f"/api/games/{name}/answers", answer))
        return replies


def _files(reply: bytes) -> dict[str, list[bytes]]:
    trial = json.loads(reply)["trial"]
    parts = ("support", *SIDES)
    return {part: [base64.b64decode(text) for text in trial[part]] for part in parts}


def _chunks(png: bytes) -> list[bytes]:
    position, names = 8, []
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        names.append(png[position + 4 : position + 8])
        position += 12 + length
    return names


@pytest.fixture(scope="module")
def played(deck):
    """Name of a game, its replies, and the game."""

    async def play():
        async with Player(deck) as player:
            name = await player.begin()
            return await player.play(name), player.games.find(name)

    return asyncio.run(play())


def test_a_trial_is_its_number_and_its_drawings_and_nothing_else(played):
    for number, reply in enumerate(played[0][:ROUND]):
        assert set(json.loads(reply)) == {"trial"}
        assert set(json.loads(reply)["trial"]) == {"number", "support", *SIDES}
        assert json.loads(reply)["trial"]["number"] == number


def test_no_name_of_a_source_or_character_comes_before_the_last_answer(played, deck):
    words = {*map(str, deck.sources), *map(str, deck.classes), *FACTS_WORDS}
    for reply in played[0][:ROUND]:
        assert not any(word.encode() in reply for word in words)
    assert b"first model" in played[0][-1]


FACTS_WORDS = ("generated", "answer", "source", "right_side", "class")


def test_all_replies_have_one_length_and_all_files_too(played):
    lengths = {len(reply) - len(str(i)) for i, reply in enumerate(played[0][:ROUND])}
    assert len(lengths) == 1
    files = [f for reply in played[0][:ROUND] for part in _files(reply).values() for f in part]
    assert len({len(file) for file in files}) == 1


def test_files_hold_grey_pixels_and_no_other_chunk(played):
    for part in _files(played[0][0]).values():
        for file in part:
            assert _chunks(file) == [b"IHDR", b"IDAT", b"IEND"]
            with Image.open(io.BytesIO(file)) as image:
                assert (image.mode, image.size) == ("L", (4 * made.SIZE, 4 * made.SIZE))
                assert image.info == {}


def test_the_drawings_are_those_of_the_deck_each_on_its_side(played, deck):
    replies, game = played
    for number, reply in enumerate(replies[:ROUND]):
        trial = game.order[number]
        for side, group in zip(SIDES, deck.groups[trial], strict=True):
            expected = [rendering.png(drawing) for drawing in group]
            assert _files(reply)[side] == expected


@asynchronous
async def test_everything_is_drawn_before_the_first_trial_is_asked_for(deck, monkeypatch):
    """So no trial can take longer than another to come."""
    drawn = []
    png = rendering.png
    monkeypatch.setattr(rendering, "png", lambda drawing: drawn.append(1) or png(drawing))
    async with Player(deck) as player:
        name = await player.begin()
        assert len(drawn) == ROUND * (4 + 2 * 3)
        await player.play(name)
        assert len(drawn) == ROUND * (4 + 2 * 3)


@asynchronous
async def test_a_round_is_drawn_once_though_all_rounds_are_played_at_once(monkeypatch):
    deck = made.deck(num_rounds=6)
    drawn = []
    monkeypatch.setattr(rendering, "png", lambda drawing: drawn.append(1) or b"")
    async with Player(deck) as player:
        names = [await player.begin() for _ in range(deck.num_rounds)]
        whole = len(drawn)
        for name in names:
            await player.play(name)
        assert len(drawn) == whole


@asynchronous
async def test_only_trials_that_were_answered_are_shown_again(deck):
    async with Player(deck) as player:
        name = await player.begin()
        await player.get(f"/api/games/{name}/trials/0", status=404)
        body = {"number": 0, "side": "left", "seconds": 0}
        await player.post(f"/api/games/{name}/answers", body)
        await player.get(f"/api/games/{name}/trials/0")
        for number in ("1", "-1", "x", "19", "٣"):
            await player.get(f"/api/games/{name}/trials/{number}", status=404)


@asynchronous
async def test_what_is_said_of_the_deck_names_no_source(deck):
    async with Player(deck) as player:
        told = json.loads(await player.get("/api/deck"))
        assert set(told) == {"data", "demonstration", "trials", "group", "kept", "file"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 3000,
        {"number": 0, "side": "up", "seconds": 1},
        {"number": "0", "side": "left", "seconds": 1},
        {"number": 0, "side": "left", "seconds": -1},
        {"number": 0, "side": "left", "seconds": float("nan")},
        {"number": True, "side": "left", "seconds": 1},
        {"number": 0, "side": ["left"], "seconds": 1},
    ],
)
@asynchronous
async def test_what_is_no_answer_is_refused_and_not_taken(deck, body):
    async with Player(deck) as player:
        name = await player.begin()
        reply = await player.post(f"/api/games/{name}/answers", body, status=400)
        assert json.loads(reply)["error"].endswith(".")
        assert player.games.find(name).answers == []


@asynchronous
async def test_each_game_has_an_order_of_its_own_and_each_round_comes_as_often(deck):
    async with Player(deck) as player:
        orders = [player.games.find(await player.begin()).order for _ in range(4)]
    assert sorted(min(order) for order in orders) == [0, 0, ROUND, ROUND]
    assert all(sorted(order) == list(range(min(order), min(order) + ROUND)) for order in orders)
    within = {tuple(trial % ROUND for trial in order) for order in orders}
    assert len(within) == 4


@asynchronous
async def test_trials_of_real_against_real_do_not_count_as_found(deck):
    async with Player(deck) as player:
        right = await player.play(await player.begin(), lambda t: SIDES[deck.answers[t]])
        results = json.loads(right[-1])["results"]
        assert (results["right"], results["of"]) == (16, 16)
        assert results["rows"][0]["source"] == REAL
        assert sum(trial["real"] for trial in results["trials"]) == 4


def test_sides_do_not_go_with_drawings_that_are_alike(deck):
    """The same deck with its sides exchanged is shown exchanged: nothing else hangs on the side."""
    turned = made.deck(groups=deck.groups[:, ::-1], answers=1 - deck.answers)
    first, second = (Judge(Games(one, None), [], public=False)._drawn(0) for one in (deck, turned))
    for one, other in zip(first, second, strict=True):
        assert (one["support"], one["left"], one["right"]) == (
            other["support"],
            other["right"],
            other["left"],
        )
    assert np.mean(deck.answers) == 0.5
