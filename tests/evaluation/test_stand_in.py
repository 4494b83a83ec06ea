"""The network that stands in for people: what it sees, what it learns, how it plays."""

import numpy as np
import pytest

from figr_common.answers import SIDES, STAND_IN
from figr_common.decks import REAL
from figr_tf.data import glyphs
from figr_tf.evaluation import sources, stand_in, telling
from figr_tf.evaluation.sources import Source
from tests.serving.judge import made

pytestmark = pytest.mark.whole


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(telling, "_STEPS", 60)


def _bold(drawings, episode, m, seed):
    """The support with strokes a pixel wider: easy to tell."""
    images = drawings[episode.support[np.arange(m) % len(episode.support)]]
    return np.minimum(images, np.roll(images, (1, 1), (1, 2)))


@pytest.fixture(scope="module")
def examples():
    chosen = {REAL: sources.choose([], (16, 16, 1))[REAL], "bold": Source(_bold, "bold")}
    found = {name: [] for name in chosen}
    for c in range(20):
        drawings = glyphs.glyph_images(c, 20, 16, seed=0)
        for name, example in stand_in.examples_of(f"glyph{c}", drawings, chosen, 0):
            found[name].append(example)
    return found


def test_each_drawing_is_seen_beside_the_nearest_of_the_four():
    support = np.concatenate([glyphs.glyph_images(c, 1, 16, seed=0)[..., 0] for c in range(4)])
    seen = telling.views(support[[2, 0]], support)
    np.testing.assert_array_equal(seen[..., 0], seen[..., 1])
    near = np.roll(support[1:2], 1, axis=2)
    np.testing.assert_array_equal(
        telling.views(near, support)[0, ..., 1], telling.views(support, support)[1, ..., 0]
    )
    assert (seen.min(), seen.max()) == (0.0, 1.0)


def test_real_drawings_on_both_sides_are_different_ones(examples):
    for example in examples[REAL]:
        between = np.abs(example.real[:, None, ..., 0] - example.generated[None, ..., 0])
        assert between.sum((2, 3)).min() > 0.5


def test_what_can_be_seen_is_told_on_classes_that_were_not_learned_from(examples, monkeypatch):
    monkeypatch.setattr(stand_in, "FOLDS", 2)
    _, is_right = stand_in.cross_validated(examples["bold"], 0)
    assert len(is_right) == 20
    assert np.mean(is_right) > 0.8


def test_each_class_is_tested_by_the_network_that_has_not_seen_it(examples, monkeypatch):
    learned = []

    def learn(real, generated, seed):
        known = {view.tobytes() for view in generated}
        learned.append(known)
        return lambda views: np.full(len(views), views.tobytes() in known, float)

    monkeypatch.setattr(telling, "learn", learn)
    monkeypatch.setattr("figr_tf.evaluation.deck.GROUP", 16)
    _, is_right = stand_in.cross_validated(examples["bold"], 0)
    assert [len(known) for known in learned] == [16] * 5
    assert len(set.union(*learned)) == 20
    assert not any(is_right)  # None of them recognised what it was tested on.


def test_it_names_the_side_that_looks_more_generated():
    deck = made.deck(num_rounds=1)
    looks = {
        telling.views(g, s).tobytes(): k
        for k, (g, s) in enumerate(
            (deck.groups[t, deck.answers[t]], deck.support[t]) for t in range(len(deck.answers))
        )
    }
    teller = lambda views: np.full(len(views), views.tobytes() in looks, float)  # noqa: E731
    played = stand_in.answers_to(deck, dict.fromkeys(made.SOURCES, [teller] * 5), 0)
    assert all(answer.is_right for answer in played)
    assert [answer.generated for answer in played] == [SIDES[side] for side in deck.answers]
    assert {(answer.player, answer.seconds) for answer in played} == {(STAND_IN, None)}
