"""What the learning curve reads from a run folder."""

import json

import pytest

from benchmarks import learning_curve
from figr_tf.core.errors import UserError


def test_minutes_add_up_over_lines_of_different_rates():
    lines = [
        {"meta_step": 50, "meta_steps_per_second": 0.5},  # 100 s
        {"meta_step": 50, "some_report": 1.0},
        {"meta_step": 100, "meta_steps_per_second": 1.0},  # 50 s
        {"meta_step": 150, "meta_steps_per_second": 2.0},  # 25 s
    ]
    text = "\n".join(map(json.dumps, lines))
    assert learning_curve.minutes_of(text, 100) == 150 / 60
    assert learning_curve.minutes_of(text, 150) == 175 / 60


def test_the_first_line_of_a_continued_run_has_no_rate_and_the_next_ones_counts_for_it():
    rates = [(50, 1.0), (51, None), (100, 2.0)]
    text = "\n".join(json.dumps({"meta_step": m, "meta_steps_per_second": r}) for m, r in rates)
    assert learning_curve.minutes_of(text, 100) == 75 / 60


def test_meta_steps_that_an_interrupted_run_took_twice_count_once():
    rates = [(50, 1.0), (100, 1.0), (100, 1.0), (150, 1.0)]
    text = "\n".join(json.dumps({"meta_step": m, "meta_steps_per_second": r}) for m, r in rates)
    assert learning_curve.minutes_of(text, 150) == 150 / 60


def test_a_run_as_it_was_has_one_checkpoint_and_all_that_describes_it(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "settings.json").write_text("{}")
    for meta_step in (100, 200, 1000):
        for part in ("index", "data-00000-of-00001"):
            (tmp_path / "checkpoints" / f"ckpt-{meta_step:09d}.{part}").write_text(str(meta_step))
    with learning_curve._as_it_was(tmp_path, 200) as view:
        assert (view / "settings.json").read_text() == "{}"
        kept = {path.name: path.read_text() for path in (view / "checkpoints").iterdir()}
    assert kept == {"ckpt-000000200.index": "200", "ckpt-000000200.data-00000-of-00001": "200"}


def test_points_of_another_run_or_other_steps_are_not_taken_for_this_ones(tmp_path):
    file, facts = tmp_path / "curve.json", {"identity": {"seed": 0}, "num_inner_steps": [10]}
    assert learning_curve.read_points(file, facts) == {}
    points = [{"meta_step": 100, "minutes": 1.0, "skills": {}}]
    file.write_text(json.dumps({"facts": facts, "points": points}))
    assert learning_curve.read_points(file, facts) == {100: points[0]}
    for other in ({"identity": {"seed": 1}}, {"num_inner_steps": [20]}):
        with pytest.raises(UserError, match=r"curve\.json: is of another run, other K or other cl"):
            learning_curve.read_points(file, facts | other)
    file.write_text(json.dumps(points))  # As it was before such facts were kept.
    with pytest.raises(UserError, match="Name another --json"):
        learning_curve.read_points(file, facts)
