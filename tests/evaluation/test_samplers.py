"""What is judged: a run with its controls, whatever system it is of."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest

from figr_tf import models
from figr_tf.core import runs, trained
from figr_tf.core.errors import RunError, UserError
from figr_tf.data import glyphs
from figr_tf.evaluation import planning, samplers
from figr_tf.evaluation.episodes import Episode
from figr_tf.evaluation.judged import Judged

pytestmark = pytest.mark.whole


@pytest.fixture
def run(run_folder, tmp_path) -> pathlib.Path:
    """A copy of its own: judging keeps what was drawn in the run folder."""
    return pathlib.Path(shutil.copytree(run_folder, tmp_path / "run"))


@pytest.fixture(scope="module")
def support() -> np.ndarray:
    return glyphs.glyph_images(7, 3, 16, seed=0)


def _judged(run, steps) -> Judged:
    return samplers.choose(str(run), None, None, None, num_samples=5, steps=steps)


def _rows(judged, support, seed=0) -> dict[str, np.ndarray]:
    nothing = np.zeros(0, int)
    return judged.sampler(support, Episode("a", nothing, nothing, nothing), seed)


@pytest.fixture(scope="module")
def judged(run_folder, tmp_path_factory) -> Judged:
    """A run that was not trained, at 1, 50 and 60 inner steps."""
    run = shutil.copytree(run_folder, tmp_path_factory.mktemp("rows") / "run")
    return _judged(run, [1, 50, 60])


@pytest.fixture(scope="module")
def rows(judged, support) -> dict[str, np.ndarray]:
    return _rows(judged, support)


def test_a_run_is_drawn_at_every_number_of_inner_steps_as_generate_draws_it(
    rows, run_folder, support
):
    model = models.load(run_folder)
    for k, name in ((0, "initialisation, 0 steps"), (1, "model, K = 1"), (50, "model, K = 50")):
        np.testing.assert_array_equal(rows[name], model.generate(support, 5, 0, k))


def test_the_untrained_control_adapts_as_long_as_the_model_where_that_draws_anything(rows):
    controls = {name for name in rows if name.startswith("untrained")}
    assert controls == {"untrained, K = 50", "untrained, K = 60"}
    assert all(rows[name].shape == (5, 16, 16, 1) for name in controls)


def test_the_untrained_control_is_drawn_with_the_first_seed_alone(judged, support):
    names = ["initialisation, 0 steps", *(f"model, K = {k}" for k in (1, 50, 60))]
    assert list(_rows(judged, support, seed=1)) == names


def test_where_no_number_of_steps_draws_anything_the_largest_has_a_control(run, support):
    assert "untrained, K = 3" in _rows(_judged(run, [1, 3]), support)


def test_the_untrained_control_starts_from_the_weights_that_the_run_started_from(rows):
    """The run of these tests was not trained, so that both are the same."""
    np.testing.assert_array_equal(rows["untrained, K = 50"], rows["model, K = 50"])


def test_judging_a_packaged_model_leaves_its_folder_as_it_is(run, support, tmp_path):
    """It may lie in an installed package."""
    packaged, cache = tmp_path / "packaged", tmp_path / "cache"
    model = models.load(run)
    trained.package(runs.RunFolder(run), packaged, model.meta_weights())
    before = sorted(packaged.iterdir())
    judged = samplers.choose(str(packaged), None, None, None, 5, [1], str(cache))
    nothing = np.zeros(0, int)
    judged.sampler(support, Episode("a", nothing, nothing, nothing), 0)
    assert sorted(packaged.iterdir()) == before
    assert len(list((cache / "evaluation").rglob("*.npz"))) == 1


def test_samples_that_other_code_drew_are_not_taken_for_todays(run, support, tmp_path, monkeypatch):
    """Its weights and settings are the same, so only this number tells them apart."""
    packaged, nothing = tmp_path / "packaged", np.zeros(0, int)
    trained.package(runs.RunFolder(run), packaged, models.load(run).meta_weights())

    def kept():
        judged = samplers.choose(str(packaged), None, None, None, 5, [1], str(tmp_path))
        judged.sampler(support, Episode("a", nothing, nothing, nothing), 0)
        return len(list((tmp_path / "evaluation").rglob("*.npz")))

    monkeypatch.setattr(samplers, "_DRAWS_AS", 1)
    assert (kept(), kept()) == (1, 1)
    monkeypatch.undo()
    assert kept() == 2


def test_a_run_of_another_split_is_refused_naming_both(run, tiny_dataset):
    judged = samplers.choose(str(run), None, None, None, num_samples=5, steps=[1])
    judged.check(tiny_dataset, None)
    split = tiny_dataset.split
    smaller = dataclasses.replace(split, training=split.training[1:])
    with pytest.raises(RunError, match=r"split=test \(4 \+ 2 .* split=test \(3 \+ 2"):
        judged.check(tiny_dataset._replace(split=smaller), None)


def test_the_network_that_redraws_has_one_row_and_is_known_by_its_weights():
    name = models.REDRAWING
    judged = samplers.choose(name, None, None, None, num_samples=5, steps=[])
    support = glyphs.glyph_images(7, 3, 32, seed=0)
    model = models.load(name)
    rows = judged.sampler(support, None, 4)
    assert list(rows) == [judged.row] == ["model"]
    np.testing.assert_array_equal(rows["model"], model.generate(support, 5, 4))
    assert judged.facts == {
        "run": name,
        "meta_step": 4000,
        "weights_sha256": model.weights_sha256,
    }


@pytest.mark.parametrize(
    ("run", "samples", "said"),
    [
        (models.REDRAWING, None, "is a redrawing network, which has no inner loop. Leave"),
        (None, "samples", "steps are a run's or an export's. Leave"),
        (None, None, "steps are a run's or an export's. Leave"),
    ],
)
def test_inner_steps_are_refused_where_there_are_none(run, samples, said):
    with pytest.raises(UserError, match=f"--num_inner_steps=1,50: .*{said}"):
        samplers.choose(run, None, samples, samples, num_samples=5, steps=[1, 50])


def test_more_seeds_than_a_folder_of_samples_has_are_refused(judged, tiny_dataset):
    samples = judged._replace(all_seeds=False, num_shots=1, num_samples=64, name="samples")
    assert planning.plan(samples, tiny_dataset, 2, None).seeds == (0,)
    with pytest.raises(UserError, match="--seeds=3: samples holds samples of the first seed's"):
        planning.plan(samples, tiny_dataset, 2, 3)


def test_a_classifier_is_sent_to_its_own_evaluation(classifier_run):
    with pytest.raises(RunError, match=r"draws no images.*figr_tf.evaluate_classifier"):
        samplers.choose(str(classifier_run), None, None, None, num_samples=5, steps=[1])
