"""Decks that need no model, and games of them in threads."""

import numpy as np

from figr_common import answers
from figr_common.decks import REAL, ROUND, Deck
from figr_tf.data import glyphs
from serving.judge_app.games import Games
from serving.judge_app.server import Judge
from tests.browsing import ApplicationThread

SIZE = 16
SOURCES = (REAL, "first model", "second model", "small affine", "copies")
FACTS = {
    "data": "Drawings: of a test.",
    "demonstration": True,
    "sources": dict.fromkeys(SOURCES, "made by a test"),
    "seed": 0,
}


def deck(num_rounds: int = 2, group: int = 3, **changes) -> Deck:
    """Balanced in each round; drawings are glyphs, what is generated is another glyph."""
    count = num_rounds * ROUND
    rng = np.random.default_rng(0)
    round_ = [(s, side) for s in SOURCES for side in (0, 1) for _ in range(2)]
    plan = [round_[i] for _ in range(num_rounds) for i in rng.permutation(ROUND)]
    sources, answers = zip(*plan, strict=True)
    drawn = [glyphs.glyph_images(c, 4 + group, SIZE, seed=0)[..., 0] for c in range(count)]
    other = [glyphs.glyph_images(500 + c, group, SIZE, seed=0)[..., 0] for c in range(count)]
    pairs = zip(drawn, other, answers, strict=True)
    groups = [np.stack([d[4:], o] if answer else [o, d[4:]]) for d, o, answer in pairs]
    parts = {
        "support": np.stack([d[:4] for d in drawn]),
        "groups": np.stack(groups),
        "sources": np.array(sources),
        "classes": np.array([f"Alphabet/character{i:02d}" for i in range(count)]),
        "answers": np.array(answers, np.uint8),
        "facts": FACTS,
    }
    return Deck(**parts | changes)


class JudgeThread(ApplicationThread):
    """Attributes: games: made anew at each start, from what `file` holds."""

    def __init__(self, a_deck: Deck, file=None, stand_in=()):
        self._parts = a_deck, file, list(stand_in)
        super().__init__(self._application)

    def _application(self):
        a_deck, file, stand_in = self._parts
        former = answers.read(file) if file and file.exists() else ()
        self.games = Games(a_deck, file, former)
        return Judge(self.games, stand_in, public=False).application()
