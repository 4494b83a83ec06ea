"""The loop in one process, on the DCGAN pair at 16×16: its graph is a quarter of the ResNet's."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from figr_tf import adaptation, checkpoints, reptile, runs, training
from figr_tf.adaptation import InnerStep
from figr_tf.datasets import DataSettings
from figr_tf.errors import RunError
from tests.conftest import TINY


@pytest.fixture(scope="module")
def settings():
    return runs.Settings(
        data=DataSettings(image_size=16),
        network=dataclasses.replace(TINY, architecture="dcgan"),
        inner=InnerStep(learning_rate=1e-4),
        num_shots=2,
        num_inner_steps=2,
        meta_learning_rate=1e-3,
        num_meta_steps=7,
        log_every=2,
        eval_every=5,
        checkpoint_every=3,
    )


def _folder(path, settings, dataset) -> runs.RunFolder:
    folder = runs.at_path(path)
    if not folder.exists():
        folder.record(settings, dataset.split, "")
    return folder


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, settings, tiny_dataset):
    folder = _folder(tmp_path_factory.mktemp("runs") / "unbroken", settings, tiny_dataset)
    training.train(settings, tiny_dataset, folder, "CPU")
    return folder


def _final_weights(folder, settings, dataset):
    state = training.Trainer(settings, dataset, "CPU").reptile
    checkpoints.restore_training(folder.checkpoints, state, {})
    return [w.numpy() for w in tf.nest.flatten(adaptation.weights_of(state.networks))]


def _metric_lines(folder):
    return [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_checkpoints_pictures_and_finite_metrics(unbroken):
    assert sorted(p.name for p in unbroken.checkpoints.glob("*.index")) == [
        f"ckpt-00000000{step}.index" for step in (3, 6, 7)
    ]
    assert sorted(p.name for p in unbroken.grids.iterdir()) == ["step-000000005.png", "step-000000007.png"]
    assert list(unbroken.tensorboard.glob("events*"))
    lines = _metric_lines(unbroken)
    assert [line["meta_step"] for line in lines] == [2, 4, 6, 7]
    for key in ("discriminator_loss", "generator_loss", "gradient_penalty", "generator_gradient_norm"):
        assert all(np.isfinite(line[key]) for line in lines)


def test_training_moves_the_weights(unbroken, settings, tiny_dataset):
    start = training.Trainer(settings, tiny_dataset, "CPU").reptile
    before = [w.numpy() for w in tf.nest.flatten(adaptation.weights_of(start.networks))]
    after = _final_weights(unbroken, settings, tiny_dataset)
    assert all(np.isfinite(w).all() for w in after)
    still = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if np.array_equal(a, b)]
    # What adds a constant to every score has no gradient under the Wasserstein loss: last bias, last LayerNorm offset.
    assert set(still) <= {len(before) - 1, len(before) - 3}


class _StopAfter(list):
    """Stands for the list of noted signals: full once the loop has looked at it `looks` times."""

    def __init__(self, looks):
        super().__init__([15])
        self._looks = looks

    def __bool__(self):
        self._looks -= 1
        return self._looks < 0


def test_an_interrupted_run_continues_to_the_same_bits(unbroken, settings, tiny_dataset, tmp_path, monkeypatch):
    folder = _folder(tmp_path / "run", settings, tiny_dataset)
    with monkeypatch.context() as patched:
        patched.setattr(training, "_signals_noted", lambda: training.contextlib.nullcontext(_StopAfter(5)))
        with pytest.raises(training.Interrupted) as stop:
            training.train(settings, tiny_dataset, folder, "CPU")
    assert stop.value.exit_status == 128 + 15
    assert 0 < folder.num_checkpointed_steps() < 7
    (folder.path / "metrics.jsonl").open("a").write('{"meta_step": 6, "torn')  # as a kill may leave it
    training.train(settings, tiny_dataset, folder, "CPU")
    weights = [_final_weights(run, settings, tiny_dataset) for run in (folder, unbroken)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [line["meta_step"] for line in _metric_lines(folder)][-2:] == [6, 7]


def test_a_finished_run_is_left_as_it_is(unbroken, settings, tiny_dataset):
    before = sorted((p, p.stat().st_mtime_ns) for p in unbroken.checkpoints.iterdir())
    training.train(settings, tiny_dataset, unbroken, "CPU")
    assert sorted((p, p.stat().st_mtime_ns) for p in unbroken.checkpoints.iterdir()) == before


def test_ten_meta_steps_in_a_row_that_are_not_finite_end_the_run_with_the_weights_intact(
    settings, tiny_dataset, tmp_path
):
    """An inner rate that overflows stands for any cause: images, being bytes, cannot hold a NaN."""
    hopeless = dataclasses.replace(settings, inner=InnerStep(learning_rate=1e38), num_meta_steps=50)
    folder = _folder(tmp_path / "run", hopeless, tiny_dataset)
    with pytest.raises(RunError, match="10 meta-steps in a row were not finite, up to meta-step 10"):
        training.train(hopeless, tiny_dataset, folder, "CPU")
    state = training.Trainer(hopeless, tiny_dataset, "CPU").reptile
    before = [w.numpy() for w in tf.nest.flatten(adaptation.weights_of(state.networks))]
    assert checkpoints.restore_training(folder.checkpoints, state, {})
    assert int(state.num_skipped) == 10
    for a, b in zip(before, tf.nest.flatten(adaptation.weights_of(state.networks)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_settings_are_refused_before_anything_is_touched(unbroken, settings, tiny_dataset):
    with pytest.raises(RunError, match="was trained with num_shots=2, this command has num_shots=3"):
        training.train(dataclasses.replace(settings, num_shots=3), tiny_dataset, unbroken, "CPU")


def test_another_split_is_refused_naming_both(unbroken, settings, tiny_dataset):
    split = dataclasses.replace(tiny_dataset.split, training=tiny_dataset.split.training[1:])
    with pytest.raises(RunError, match=r"split=test \(4 \+ 2 classes.*split=test \(3 \+ 2 classes"):
        training.train(settings, tiny_dataset._replace(split=split), unbroken, "CPU")


def test_annealing_lowers_the_meta_learning_rate_linearly_to_zero(settings, tiny_dataset, monkeypatch):
    rates = []
    monkeypatch.setattr(reptile.Reptile, "set_learning_rate", lambda _, value: rates.append(float(value)))
    monkeypatch.setattr(reptile.Reptile, "take_meta_step", lambda self, *_: self.meta_step.assign_add(1))
    annealed = dataclasses.replace(settings, anneal_meta_learning_rate=True, num_meta_steps=4)
    trainer = training.Trainer(annealed, tiny_dataset, "CPU")
    for _ in range(4):
        trainer._take_meta_step()
    np.testing.assert_allclose(rates, [1e-3, 0.75e-3, 0.5e-3, 0.25e-3], rtol=1e-6)


def test_every_task_of_a_meta_batch_and_every_meta_step_draws_its_own(settings, tiny_dataset, monkeypatch):
    seen = []

    def record(self, support_images, _, __, seeds):
        seen.extend([*(s.numpy().tobytes() for s in support_images), *(s.numpy().tobytes() for s in seeds)])
        self.meta_step.assign_add(1)

    monkeypatch.setattr(reptile.Reptile, "take_meta_step", record)
    trainer = training.Trainer(dataclasses.replace(settings, meta_batch_size=3), tiny_dataset, "CPU")
    for _ in range(3):
        trainer._take_meta_step()
    seeds = seen[3:6] + seen[9:12] + seen[15:18]
    assert len(set(seeds)) == 9
    assert len(set(seen) - set(seeds)) > 5
