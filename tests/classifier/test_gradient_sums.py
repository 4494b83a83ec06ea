"""The ten runs of the plot of gradient sums, and the command that makes it."""

import pytest
from PIL import Image

from figr_tf import gradient_sums
from figr_tf.classifier import gradient_sums as sums
from figr_tf.classifier import system
from tests.commands import run_here


def test_ten_combinations_of_gradients_are_those_of_the_post():
    labels = [combination.label for combination in sums.combinations()]
    assert labels[:4] == ["g₁", "g₂", "g₁ + g₂", "(g₁ + g₂) / 2"]
    assert labels[-1] == "(g₁ + g₂ + g₃ + g₄) / 4"
    base = sums.base_settings(0.003)
    last, average = (sums.Combination(kind, 4).settings(base) for kind in ("last", "average"))
    assert (last.foml, average.foml) == (True, False)
    assert average.meta_learning_rate == 0.25 / 4
    # Four disjoint minibatches of 25.
    assert (last.train_shots, last.inner.batch_size, last.inner.num_steps) == (20, 25, 4)
    assert (last.eval_batch_size, last.eval_inner_steps) == (25, 5)
    assert last.anneal_meta_learning_rate


@pytest.mark.slow
def test_gradient_sums_makes_runs_and_a_plot_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(system, "_REPORT_TASKS", 2)
    two = [sums.Combination("last", 1), sums.Combination("average", 2)]
    monkeypatch.setattr(sums, "combinations", lambda: iter(two))
    arguments = [
        f"--out={tmp_path / 'sums.png'}",
        f"--runs_dir={tmp_path / 'runs'}",
        "--dataset=glyphs",
        "--image_size=14",
        "--filters=2",
        "--num_meta_steps=2",
        "--eval_every=1",
    ]
    run_here(gradient_sums, *arguments)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"last-1", "average-2"}
    with Image.open(tmp_path / "sums.png") as picture:
        assert picture.size == (1300, 500)
    first = capsys.readouterr().out
    assert first.count("building the graph") == 2
    assert "(g₁ + g₂) / 2" in first
    # A task of the average takes ten images of a class, one of g₁ six. Both have the same classes.
    splits = {path.read_text() for path in (tmp_path / "runs").glob("*/split.json")}
    assert len(splits) == 1
    run_here(gradient_sums, *arguments)
    assert "building the graph" not in capsys.readouterr().out
