"""The warp generator, its system and what a run of it keeps, at 16×16."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from figr_tf import models
from figr_tf.core import random, runs, trained, training
from figr_tf.core.errors import RunError
from figr_tf.core.interruption import Interrupted
from figr_tf.data import datasets, glyphs
from figr_tf.evaluation import samplers
from figr_tf.warp import energy
from figr_tf.warp import generator as warp_generator
from figr_tf.warp.generator import Draw, random_draw
from figr_tf.warp.model import WarpModel
from figr_tf.warp.settings import WarpSettings
from figr_tf.warp.system import WarpSystem
from tests.conftest import glyph_dataset, identity_of

SEED = random.stateless_seed(4)
DATA = datasets.DataSettings(image_size=16)


@pytest.fixture(scope="module")
def generator():
    return warp_generator.WarpGenerator(image_size=16, width=8)


@pytest.fixture(scope="module")
def support_ink():
    """[2, 3, 16, 16]: two classes."""
    drawings = np.stack([glyphs.glyph_images(c, 3, 16, seed=0) for c in range(2)])
    return tf.constant(1 - drawings[..., 0] / np.float32(255))


@pytest.fixture(scope="module")
def settings():
    return WarpSettings(
        data=DATA,
        num_meta_steps=7,
        num_tasks=2,
        num_samples=3,
        num_shots=2,
        width=8,
        log_every=2,
        eval_every=5,
        checkpoint_every=3,
    )


@pytest.fixture(scope="module")
def dataset():
    return glyph_dataset(4, 6, 16, num_held_out=1)


def _train(settings, dataset, path) -> runs.RunFolder:
    identity = identity_of(settings, dataset)
    folder = runs.at_path(path, settings, identity)
    try:
        folder.record(settings, identity, {"split.json": dataset.split.to_json()})
        training.train(functools.partial(WarpSystem, settings, dataset), settings, folder, identity)
    finally:
        folder.unlock()
    return folder


@pytest.fixture(scope="module")
def run(settings, dataset, tmp_path_factory):
    return _train(settings, dataset, tmp_path_factory.mktemp("runs") / "warp").path


def test_the_other_image_is_never_the_source_and_both_belong_to_the_set():
    draw = random_draw([3, 200], 40, 4, SEED)
    assert set(np.unique(draw.source)) == set(np.unique(draw.other)) == {0, 1, 2, 3}
    assert not np.any(draw.source == draw.other)
    np.testing.assert_array_equal(random_draw([1, 5], 40, 1, SEED).other, np.zeros((1, 5)))


def test_without_latents_a_sample_stays_close_to_its_source(generator, support_ink):
    """The start of the training: the drawing itself, shifted towards the mean pose."""
    source = tf.constant([[0, 1, 2], [2, 1, 0]])
    ink = generator((support_ink, Draw(tf.zeros([2, 3, 64]), source, (source + 1) % 3)))
    for task in range(2):
        errors = tf.reduce_mean(tf.abs(ink[task][:, None] - support_ink[task][None]), [2, 3])
        np.testing.assert_array_equal(tf.argmin(errors, 1), source[task])


def test_samples_are_ink_and_differ_with_the_latents(generator, support_ink):
    ink = generator((support_ink, random_draw([2, 8], 64, 3, SEED))).numpy()
    assert ink.shape == (2, 8, 16, 16)
    assert ink.min() >= 0
    assert ink.max() <= 1
    assert len(np.unique(ink.reshape(16, -1), axis=0)) == 16


def test_whatever_the_threshold_paper_stays_paper_and_ink_ink():
    generator = warp_generator.WarpGenerator(image_size=16, width=8)
    generator.latent_threshold.assign(tf.fill([64, 1], 10.0))
    block = np.zeros((1, 2, 16, 16), np.float32)
    block[..., 5:11, 5:11] = 1
    ink = generator((tf.constant(block), random_draw([1, 64], 64, 2, SEED))).numpy()
    np.testing.assert_allclose(ink.min((2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(ink.max((2, 3)), 1, atol=1e-6)
    assert np.ptp(ink.mean((2, 3))) > 0.05  # and yet it is drawn bolder and finer


def test_a_task_is_not_influenced_by_the_others(generator, support_ink):
    draw = random_draw([2, 4], 64, 3, SEED)
    together = generator((support_ink, draw))
    alone = generator((support_ink[1:], Draw(*(part[1:] for part in draw))))
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)


def test_the_order_of_the_support_does_not_matter(generator, support_ink):
    draw = random_draw([2, 4], 64, 3, SEED)
    turned = draw._replace(source=(draw.source + 1) % 3, other=(draw.other + 1) % 3)
    np.testing.assert_allclose(
        generator((support_ink, draw)), generator((tf.roll(support_ink, 1, 1), turned)), atol=1e-5
    )


def test_every_weight_of_the_generator_is_reached_by_the_loss(generator, support_ink):
    with tf.GradientTape() as tape:
        ink = generator((support_ink, random_draw([2, 8], 64, 3, SEED)))
        loss = tf.reduce_sum(tf.square(ink - 0.3))
    for weight, gradient in zip(
        generator.trainable_variables,
        tape.gradient(loss, [w.value for w in generator.trainable_variables]),
        strict=True,
    ):
        assert gradient is not None, weight.path
        assert np.abs(gradient).max() > 0, weight.path


def test_tasks_are_of_training_classes_and_drawings_are_in_the_support_or_the_rest(
    settings,
    dataset,
    monkeypatch,
):
    def first_pixels(ink):
        return tf.reshape(ink, [-1, 16 * 16])

    monkeypatch.setattr(energy, "BlurSpace", lambda image_size: first_pixels)
    system = WarpSystem(dataclasses.replace(settings, upright_share=0.5), dataset)
    support, rest = system.draw_task(system.constants, SEED, num_tasks=40)
    training_drawings = dataset.data.images[:18, ..., 0]
    known = {turned.tobytes() for image in training_drawings for turned in _turns(image)}
    upright = {image.tobytes() for image in training_drawings}
    num_upright = 0
    for task in range(40):
        drawn = np.concatenate([support[task].numpy().reshape(2, -1), rest[task].numpy()])
        as_bytes = {np.rint(255 * (1 - d)).astype(np.uint8).tobytes() for d in drawn}
        assert len(as_bytes) == 6
        assert as_bytes <= known
        num_upright += as_bytes <= upright
    assert 10 < num_upright < 30


def _turns(image):
    return [np.ascontiguousarray(np.rot90(image, k)) for k in range(4)]


def test_a_step_descends_the_gradient_of_the_energy_distance_as_a_share_of_that_of_copying(
    settings, dataset, monkeypatch
):
    """By the loss worked out anew, and with gradients that are not clipped."""
    system = WarpSystem(settings, dataset)
    monkeypatch.setattr("figr_tf.warp.system._GRADIENT_NORM", 1e9)
    task = system.draw_task(system.constants, SEED)
    weights = {"generator": tuple(v.read_value() for v in system.meta_weights["generator"])}
    adapted = system.adapt(weights, (), task, SEED)
    variables = system.meta_weights["generator"]
    space = energy.BlurSpace(16)
    every = system.draw_task(system.constants, random.stateless_seed(settings.seed), 400, 0)
    with tf.GradientTape() as tape:
        ink = system.generator((task.support_ink, random_draw([2, 3], 64, 2, SEED)))
        embedded = tf.reshape(space(tf.reshape(ink, [6, 16, 16])), [2, 3, -1])
        distance = tf.reduce_mean(energy.energy_distance(embedded, task.others))
        loss = distance / energy.copying(every.others, 2)
    assert float(adapted.metrics["skill_blur"]) == pytest.approx(1 - float(loss), abs=1e-5)
    gradients = tape.gradient(loss, list(variables))
    stepped = zip(weights["generator"], adapted.weights["generator"], strict=True)
    for (before, after), gradient in zip(stepped, gradients, strict=True):
        rounding = 1e-5 + 1e-6 * np.abs(before).max()
        np.testing.assert_allclose(before - after, gradient, rtol=1e-3, atol=rounding)


def test_the_rate_rises_over_the_first_steps_stays_and_falls_to_a_fiftieth():
    settings = WarpSettings(data=DATA, num_meta_steps=1000)
    steps = (0, 24, 49, 600, 800, 999)
    rates = [float(settings.learning_rate(tf.constant(step))) for step in steps]
    np.testing.assert_allclose(rates, 1e-3 * np.array([0.02, 0.5, 1, 1, 0.5, 0.02]), rtol=1e-5)


def _weights(path: pathlib.Path) -> list[np.ndarray]:
    return WarpModel(path).generator.get_weights()


def _assert_same_weights(path: pathlib.Path, other: pathlib.Path) -> None:
    for a, b in zip(_weights(path), _weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_training_is_repeatable_and_moves_the_weights(run, settings, dataset, tmp_path):
    again = _train(settings, dataset, tmp_path / "again").path
    _assert_same_weights(run, again)
    start = settings.build_generator().get_weights()
    assert any(np.abs(a - b).max() > 0 for a, b in zip(_weights(run), start, strict=True))
    assert [line["meta_step"] for line in _metric_lines(run)] == [2, 4, 6, 7]
    assert all(np.isfinite(line["skill_blur"]) for line in _metric_lines(run))


def test_a_run_draws_with_the_average_of_its_weights(run, settings, dataset):
    reader = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-000000007"))
    for i, weight in enumerate(WarpModel(run).meta_weights()["generator"]):
        stored = {
            name: reader.get_tensor(f"{name}/{i}/.ATTRIBUTES/VARIABLE_VALUE")
            for name in ("generator", "generator_average")
        }
        np.testing.assert_array_equal(weight, stored["generator_average"])
        assert np.any(stored["generator"] != stored["generator_average"])


def _metric_lines(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


class _StopAfter(list):
    """A list of signals that is empty for some looks."""

    def __init__(self, looks):
        super().__init__([15])
        self._looks = looks

    def __bool__(self):
        self._looks -= 1
        return self._looks < 0


def test_a_stopped_and_then_killed_training_goes_on_to_the_same_bits(
    run,
    settings,
    dataset,
    tmp_path,
    monkeypatch,
):
    path = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        stop_signals = contextlib.nullcontext(_StopAfter(7))
        patched.setattr(training, "signals_noted", lambda *_: stop_signals)
        with pytest.raises(Interrupted, match=r"SIGTERM at meta-step \d") as stop:
            _train(settings, dataset, path)
    assert stop.value.exit_status == 128 + 15
    unfinished = WarpModel(path)
    assert unfinished.meta_step == runs.RunFolder(path).num_checkpointed_meta_steps()
    assert 0 < unfinished.meta_step < 7
    # As a kill leaves it.
    torn = '{"meta_step": 6, "skill_blur": 1}\n{"meta_step": 7, "torn'
    (path / "metrics.jsonl").open("a").write(torn)
    _train(settings, dataset, path)
    _assert_same_weights(run, path)
    lines = _metric_lines(path)
    assert [line["meta_step"] for line in lines] == [2, 4, 6, 7]
    # The clock of a start that took one step tells no rate.
    timed = "meta_steps_per_second"
    assert lines[-1] | {timed: None} == _metric_lines(run)[-1] | {timed: None}


def test_a_run_that_has_no_checkpoint_yet_draws_nothing(settings, dataset, tmp_path):
    folder = runs.RunFolder(tmp_path)
    folder.record(settings, identity_of(settings, dataset), {})
    with pytest.raises(RunError, match="no checkpoint there yet"):
        WarpModel(tmp_path)


def test_a_run_of_other_settings_or_another_kind_of_folder_is_not_trained_into(
    run, run_folder, settings, dataset, tmp_path
):
    with pytest.raises(RunError, match="was trained with seed=0, this command has seed=1"):
        _train(dataclasses.replace(settings, seed=1), dataset, run)
    # The rate falls towards the end of a run, so a longer one is another run.
    with pytest.raises(RunError, match="num_meta_steps=7, this command has num_meta_steps=8"):
        _train(dataclasses.replace(settings, num_meta_steps=8), dataset, run)
    with pytest.raises(RunError, match="was trained with system=gan, this command has system=warp"):
        _train(settings, dataset, run_folder)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="exists but is not a run folder"):
        _train(settings, dataset, tmp_path)


def test_sizes_that_the_network_cannot_halve_are_refused():
    with pytest.raises(ValueError, match=r"a multiple of 16\. Received: image_size=40"):
        WarpSettings(data=datasets.DataSettings(image_size=40))


def test_a_saved_model_draws_seeded_samples_from_any_number_of_images(run):
    warp = models.load(run)
    for num_shots in (1, 3):
        support = glyphs.glyph_images(3, num_shots, 16, seed=1)
        first, again, other = (warp.generate(support, 5, seed) for seed in (1, 1, 2**40))
        assert (first.shape, first.dtype) == ((5, 16, 16, 1), np.uint8)
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)
    for wrong in ({"num_samples": 0}, {"seed": -1}, {"seed": 2**53}):
        with pytest.raises(ValueError, match="Received"):
            warp.generate(support, **wrong)
    with pytest.raises(ValueError, match="support_images must be uint8"):
        warp.generate(support.astype(np.float32))


@pytest.fixture
def packaged(run, tmp_path):
    """The packaged model of the run."""
    out = tmp_path / "packaged"
    trained.package(runs.RunFolder(run), out, WarpModel(run).meta_weights())
    return out


def test_a_packaged_model_is_the_run_it_was_made_from(run, packaged):
    model = models.load(packaged)
    assert (model.meta_step, model.age) == (7, "7 training steps")
    assert model.weights_sha256 == WarpModel(run).weights_sha256
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    np.testing.assert_array_equal(model.generate(support), WarpModel(run).generate(support))


def test_a_folder_without_a_run_of_it_is_refused(run_folder, tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        models.load(tmp_path)
    shipped = ", ".join(models.shipped_names())
    with pytest.raises(RunError, match=rf"no such run folder, nor a shipped model \({shipped}\)"):
        models.load("omniglot-64")
    with pytest.raises(RunError, match="is a run of 'gan'; a run of 'warp' is needed"):
        WarpModel(run_folder)


def _change(path: pathlib.Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_an_altered_packaged_model_is_refused(packaged):
    weights = packaged / "weights.npz"
    whole = weights.read_bytes()
    altered = bytearray(whole)
    altered[len(altered) // 2] ^= 1
    weights.write_bytes(altered)
    with pytest.raises(RunError, match=r"weights\.npz: does not match the sha256"):
        models.load(packaged)
    weights.write_bytes(whole)
    record = (packaged / "weights.json").read_text()
    _change(packaged / "weights.json", sha256="0" * 64)
    with pytest.raises(RunError, match="does not match the sha256"):
        models.load(packaged)
    (packaged / "weights.json").write_text(record)
    _change(packaged / "settings.json", width=16)
    with pytest.raises(RunError, match="holds other weights than its settings describe"):
        models.load(packaged)
    (packaged / "settings.json").write_text("{}")
    with pytest.raises(RunError, match="its settings cannot be read"):
        models.load(packaged)
    (packaged / "settings.json").write_text("{")
    with pytest.raises(RunError, match=r"its settings\.json cannot be read"):
        models.load(packaged)


def test_damaged_checkpoints_are_refused_and_the_one_before_the_last_is_taken(run, tmp_path):
    copy = pathlib.Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "checkpoints/ckpt-000000007.index").write_bytes(b"torn")
    assert WarpModel(copy).meta_step == 6
    for index in (copy / "checkpoints").glob("*.index"):
        index.write_bytes(b"torn")
    with pytest.raises(RunError, match="none of its 3 checkpoints can be read"):
        models.load(copy)


@pytest.fixture
def former(run, settings, dataset, tmp_path):
    """The run as an earlier version would have left it."""
    folder = tmp_path / "former"
    folder.mkdir()
    np.savez(folder / "weights.npz", *_weights(run))
    data = dataclasses.asdict(settings.data)
    del data["data_dir"], data["cache_dir"]
    names = ("num_tasks", "num_samples", "num_shots", "upright_share", "latent_dim", "width")
    record = {"data": data, "num_steps": 7, "learning_rate": 0.001, "seed": 0}
    record |= {name: getattr(settings, name) for name in names} | dataset.facts()
    digest = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    record |= runs.versions() | {"weights_sha256": digest}
    (folder / "warp.json").write_text(json.dumps(record))
    (folder / "split.json").write_text(dataset.split.to_json())
    return folder


def test_a_run_of_an_earlier_version_draws_as_it_did(run, former, dataset):
    model = models.load(former)
    assert models.system_of(former) == "warp"
    assert (model.meta_step, model.age) == (7, "7 training steps")
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    np.testing.assert_array_equal(model.generate(support), WarpModel(run).generate(support))
    judged = samplers.choose(str(former), None, None, None, num_samples=32, steps=[1])
    judged.check(dataset, None)


def test_an_altered_or_unfinished_run_of_an_earlier_version_is_refused(former):
    record = json.loads((former / "warp.json").read_text())
    _change(former / "warp.json", weights_sha256="0" * 64)
    with pytest.raises(RunError, match="do not match their sha256"):
        models.load(former)
    del record["weights_sha256"]
    for text in (json.dumps(record), json.dumps({"weights_sha256": "0" * 64}), "{"):
        (former / "warp.json").write_text(text)
        with pytest.raises(RunError, match=r"not a finished run of figr_tf\.train_warp"):
            models.load(former)


def test_the_referee_finds_it_by_its_run_folder(run, dataset):
    judged = samplers.choose(str(run), None, None, None, num_samples=32, steps=[1])
    judged.check(dataset, None)
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    assert judged.sampler(support, None, 0)["model"].shape == (32, 16, 16, 1)
    split = dataset.split
    moved = dataclasses.replace(split, training=split.held_out, held_out=split.training)
    with pytest.raises(RunError, match="split"):
        judged.check(dataset._replace(split=moved), None)
