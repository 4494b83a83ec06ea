"""The whole protocol on glyphs, with samplers whose worth is known."""

import types

import numpy as np
import pytest

from figr_tf.core.errors import DataError
from figr_tf.data import glyphs
from figr_tf.evaluation import features, protocol, table
from figr_tf.evaluation.protocol import Plan

pytestmark = pytest.mark.whole

# In place of the network where the space does not matter: it takes milliseconds a drawing.
QUICK = types.SimpleNamespace(embed=features.blur)


@pytest.fixture(scope="module")
def plan():
    classes = {f"glyph{c}": glyphs.glyph_images(c, 20, 32, seed=0) for c in range(30)}
    return Plan(classes, num_shots=4, num_samples=64, seeds=(0, 1))


def _fresh_drawings(support, episode, seed):
    """A perfect model: new drawings of the very class, by the very hand."""
    index = int(episode.class_name.removeprefix("glyph"))
    return {"perfect": glyphs.glyph_images(index, 84, 32, seed=0)[20:]}


def _first_support_image(support, episode, seed):
    return {"repeated": np.repeat(support[:1], 64, axis=0)}


def _both(*arguments):
    return _fresh_drawings(*arguments) | _first_support_image(*arguments)


@pytest.fixture(scope="module")
def result(plan):
    return protocol.evaluate(plan, _both)


def test_rows_land_where_their_worth_is_known(result):
    values = {name: row.values for name, row in result.rows.items()}
    for space in ("embedding", "blur"):
        column = f"skill {space}"
        assert values["copies of the support"][column] == 0
        assert values["real held-out"][column] == pytest.approx(1, abs=0.15)
        assert values["perfect"][column] == pytest.approx(1, abs=0.1)
        assert values["repeated"][column] < -1
        low, high = result.rows["perfect"].intervals[column]
        assert low <= values["perfect"][column] <= high
    assert values["copies of the support"]["copy AUC"] == 1
    assert values["perfect"]["copy AUC"] == pytest.approx(0.5, abs=0.05)
    assert values["repeated"]["diversity"] == pytest.approx(0, abs=1e-4)
    assert values["perfect"]["diversity"] == pytest.approx(1, abs=0.1)
    assert values["perfect"]["1-NN %"] == pytest.approx(
        100 * 7 / 15, abs=6
    )  # of 15 other points 7 are of one's kind
    assert values["perfect"]["rec20 %"] > 90


def test_every_row_of_the_protocol_is_there(result):
    assert list(result.rows) == ["real held-out", *protocol.REFERENCE_ROWS, "perfect", "repeated"]


@pytest.fixture(scope="module")
def few(plan):
    return plan._replace(classes=dict(list(plan.classes.items())[:8]))


@pytest.mark.slow
def test_the_same_seeds_give_the_same_table_to_the_last_digit(few):
    first, again = (protocol.evaluate(few, _both) for _ in range(2))
    for name, row in first.rows.items():
        assert again.rows[name].values == row.values
        assert again.rows[name].intervals == row.intervals
    assert table.to_markdown(again.rows) == table.to_markdown(first.rows)


def test_a_row_of_the_first_seed_alone_is_scored_against_the_copies_of_that_seed(few):
    def sometimes(support, episode, seed):
        control = {} if seed else _first_support_image(support, episode, seed)
        return _fresh_drawings(support, episode, seed) | control

    row = protocol.evaluate(few, sometimes, QUICK).rows["repeated"]
    alone = protocol.evaluate(few._replace(seeds=(0,)), sometimes, QUICK).rows["repeated"]
    assert row.values == alone.values
    assert row.intervals == alone.intervals


def test_markdown_has_all_columns_and_intervals(result):
    shown, note = table.to_markdown(result.rows).split("\n\n")
    lines = shown.splitlines()
    assert lines[0].count("|") == lines[1].count("|") == len(table.COLUMNS) + 2
    assert len(lines) == 2 + len(result.rows)
    assert "0.00 [0.00, 0.00]" in lines[3]
    assert "| skill blur ¹ |" in lines[0]
    assert note.startswith("¹")


def test_a_former_report_is_read_whose_embedding_was_called_critic():
    row = {"values": {"skill critic": 0.5, "rec20 %": 90.0}, "intervals": {"skill critic": [0, 1]}}
    read = table.rows_of({"rows": {"model": row}})["model"]
    assert read.values == {"skill embedding": 0.5, "rec20 %": 90.0}
    assert read.intervals == {"skill embedding": [0, 1]}


def test_an_interrupted_evaluation_samples_only_what_is_missing(plan, tmp_path):
    calls = []

    def counted(support, episode, seed):
        calls.append((episode.class_name, seed))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return _first_support_image(support, episode, seed)

    episodes = plan.episodes(0)[:8]
    sampler = protocol.cached(counted, tmp_path, {"run": "x"})
    for attempt in range(2):
        try:
            rows = protocol._model_samples(plan, episodes, 0, sampler)
        except KeyboardInterrupt:
            assert attempt == 0
    assert len(calls) == 9  # four, the interrupted one again, four more
    np.testing.assert_array_equal(
        rows["repeated"][0], _first_support_image(*_of(plan, episodes[0]))["repeated"]
    )
    protocol._model_samples(
        plan, episodes, 0, protocol.cached(counted, tmp_path, {"run": "another"})
    )
    assert len(calls) == 17


def _of(plan, episode):
    return plan.classes[episode.class_name][episode.support], episode, 0


def test_a_class_without_samples_is_one_line(plan):
    with pytest.raises(DataError, match="class glyph0: 0 samples"):
        protocol.evaluate(plan, lambda support, *_: {"none": support[:0]})


def test_classes_are_ordered_from_best_to_worst_and_drawn(plan):
    plan = plan._replace(classes=dict(list(plan.classes.items())[:12]))

    def good_for_even_classes(support, episode, seed):
        even = int(episode.class_name.removeprefix("glyph")) % 2 == 0
        samples = (
            _fresh_drawings(support, episode, seed)["perfect"]
            if even
            else np.repeat(support[:1], 64, 0)
        )
        return {"mixed": samples}

    mixed = protocol.evaluate(plan, good_for_even_classes, QUICK)
    order = [list(plan.classes)[i] for i in protocol.class_order(mixed, "mixed")]
    assert all(int(name.removeprefix("glyph")) % 2 == 0 for name in order[:6])
    image = protocol.picture(plan, good_for_even_classes, mixed, "mixed")
    assert (
        image.height == 3 * (4 * 68) + 2 * 8
    )  # three strips of a support row and three rows of samples


def test_classes_of_unequal_size_colour_and_64_pixels_are_judged(plan):
    """A perfect model stays perfect, and copying stays at 0."""
    classes = {
        f"glyph{c}": glyphs.glyph_images(c, 12 + c % 9, 64, seed=0).repeat(3, axis=-1)
        for c in range(12)
    }

    def fresh(support, episode, seed):
        index = int(episode.class_name.removeprefix("glyph"))
        return {"perfect": glyphs.glyph_images(index, 85, 64, seed=0)[21:].repeat(3, axis=-1)}

    rows = protocol.evaluate(Plan(classes, 4, 64, (0,)), fresh).rows
    for column in ("skill embedding", "skill blur"):
        assert rows["perfect"].values[column] == pytest.approx(1, abs=0.25)
        assert rows["copies of the support"].values[column] == 0
    assert rows["perfect"].values["CAS100 %"] > 90


def test_one_class_has_intervals_over_its_supports_and_nothing_to_be_recognised_among(plan):
    one = plan._replace(classes={"glyph0": plan.classes["glyph0"]}, seeds=tuple(range(6)))
    rows = protocol.evaluate(one, _fresh_drawings, QUICK).rows
    row = rows["perfect"]
    low, high = row.intervals["skill blur"]
    assert low < row.values["skill blur"] < high
    (line,) = (line for line in table.to_markdown(rows).splitlines() if "| perfect" in line)
    assert line.split("|").count(" – ") == 3
    assert np.isnan([row.values[c] for c in ("rec20 %", "1-shot %", "CAS100 %")]).all()
