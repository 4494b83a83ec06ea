"""Decks as evaluation makes them, from sources that are no models."""

import numpy as np
import pytest

from figr_common import decks
from figr_common.decks import REAL, ROUND
from figr_tf import evaluate
from figr_tf.core.errors import UserError
from figr_tf.data import datasets, glyphs
from figr_tf.evaluation import deck, hallucination, sources
from figr_tf.evaluation.sources import Source
from tests.commands import run_here
from tests.conftest import glyph_dataset

FACTS = {"data": "Glyphs.", "demonstration": True}


def _dark(drawings, episode, m, seed):
    """Samples that cannot be mistaken: all ink."""
    return np.zeros((m, 16, 16, 1), np.uint8)


@pytest.fixture(scope="module")
def classes():
    """Each drawing is another, so that they can be found again."""
    return {f"glyph{c}": glyphs.glyph_images(c, 20, 16, seed=0) for c in range(50)}


@pytest.fixture(scope="module")
def chosen():
    rows = sources.choose([], (16, 16, 1))
    dark = Source(_dark, "ink")
    return {REAL: rows[REAL], "one": dark, "two": dark, **{k: rows[k] for k in list(rows)[1:]}}


@pytest.fixture(scope="module")
def made(classes, chosen):
    return deck.make(classes, chosen, 2 * ROUND, 0, FACTS)


def _found(drawing: np.ndarray, drawings: np.ndarray) -> list[int]:
    return [i for i, other in enumerate(drawings[..., 0]) if (other == drawing).all()]


def test_each_round_has_each_source_twice_on_each_side(made):
    assert len(set(made.classes.tolist())) == 2 * ROUND
    for first in (0, ROUND):
        pairs = [(str(made.sources[i]), int(made.answers[i])) for i in range(first, first + ROUND)]
        assert sorted(pairs) == sorted(
            (s, side) for s in made.facts["sources"] for side in (0, 1) * 2
        )
    assert made.sources[:ROUND].tolist() != made.sources[ROUND:].tolist()


def test_the_generated_group_is_on_the_side_that_the_answer_names(made):
    for i, source in enumerate(made.sources):
        is_dark = [bool((group == 0).all()) for group in made.groups[i]]
        assert is_dark == [source in ("one", "two") and side == made.answers[i] for side in (0, 1)]


def test_no_real_drawing_is_among_the_four_or_comes_twice(made, classes):
    for i, (name, source) in enumerate(zip(made.classes, made.sources, strict=True)):
        groups = made.groups[i] if source == REAL else made.groups[i, [1 - made.answers[i]]]
        shown = [*made.support[i], *groups.reshape(-1, 16, 16)]
        places = [_found(drawing, classes[str(name)]) for drawing in shown]
        assert all(places)
        assert len({place[0] for place in places}) == len(places)


def test_copies_are_copies_of_the_four(made):
    for i in np.flatnonzero(made.sources == "copies"):
        group = made.groups[i, made.answers[i]]
        assert all(_found(drawing, made.support[i][..., None]) for drawing in group)


def test_the_seed_alone_makes_the_deck_and_another_makes_another(classes, chosen, made):
    again = deck.make(classes, chosen, 2 * ROUND, 0, FACTS)
    np.testing.assert_array_equal(again.groups, made.groups)
    np.testing.assert_array_equal(again.answers, made.answers)
    other = deck.make(classes, chosen, 2 * ROUND, 1, FACTS)
    assert other.answers.tolist() != made.answers.tolist()
    assert set(other.classes) != set(made.classes)


def test_a_deck_is_read_as_it_was_written_and_its_digest_is_the_files(made, tmp_path):
    paths = [tmp_path / name for name in ("a.npz", "b.npz")]
    for path in paths:
        made.write(path)
    first, second = map(decks.read, paths)
    np.testing.assert_array_equal(first.groups, made.groups)
    assert first.facts["sources"] == made.facts["sources"]
    assert first.digest == second.digest != ""


@pytest.mark.parametrize("num_trials", [30, 0, 60])
def test_numbers_of_trials_that_do_not_fit_are_refused(classes, chosen, num_trials):
    with pytest.raises(UserError, match="multiple of 20, and a class for each"):
        deck.make(classes, chosen, num_trials, 0, FACTS)


def test_sources_that_do_not_share_a_round_are_refused(classes, chosen):
    with pytest.raises(UserError, match="two models"):
        deck.make(classes, {k: chosen[k] for k in (REAL, "one", "two")}, ROUND, 0, FACTS)


def test_two_models_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(sources, "_of_model", lambda name, shape: None)
    with pytest.raises(UserError, match="b/run: another row has the name run"):
        sources.choose(["a/run/", "b/run"], (16, 16, 1))


def test_the_sources_without_a_model_are_those_of_the_evaluation():
    assert list(sources.choose([], (16, 16, 1))) == [REAL, "small affine", "copies"]


def test_a_model_is_not_told_from_drawings_of_the_classes_of_its_training(run_folder):
    with pytest.raises(UserError, match=r"was trained on 1 of these 2 classes: glyph3\. Name"):
        sources.refuse_seen([str(run_folder)], ["glyph3", "glyph4"])
    sources.refuse_seen([str(run_folder)], ["glyph4", "glyph5"])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (evaluate, ["--write_deck=deck.npz", "--deck_models"]),
        (hallucination, ["--num_classes=20", "--models"]),
    ],
)
def test_commands_that_tell_models_from_drawings_refuse_those_that_have_seen_them(
    command, arguments, run_folder, monkeypatch
):
    # The run was trained on glyph0 to glyph3. Its images are too small to be drawn here, which is
    # found out before.
    data = glyph_dataset(21, 2, 32, num_held_out=20)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    monkeypatch.setattr(sources, "choose", lambda *_: {})
    *others, models = arguments
    with pytest.raises(UserError, match="was trained on 3 of these 20 classes: glyph1, glyph2"):
        run_here(command, *others, f"{models}={run_folder}")
