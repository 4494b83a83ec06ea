"""The warp generator, its training and the folder that keeps it, at 16×16."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from figr_tf import adaptation, datasets, glyphs, models, runs
from figr_tf.errors import RunError
from figr_tf.evaluation import samplers
from figr_tf.interruption import Interrupted
from figr_tf.warp import generator as warp_generator
from figr_tf.warp import model, training
from figr_tf.warp.generator import Draw, random_draw

SEED = adaptation.stateless_seed(4)
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
    return model.WarpSettings(DATA, num_steps=7, num_tasks=2, num_samples=3, num_shots=2, width=8)


@pytest.fixture(scope="module")
def dataset():
    names = [f"glyph{c}" for c in range(4)]
    data = np.concatenate([glyphs.glyph_images(c, 6, 16, seed=0) for c in range(4)])
    split = datasets.splits.split_by("test", names, "glyph3".__eq__)
    return datasets.Dataset(datasets.ClassImages(data, dict.fromkeys(names, 6)), split)


def _train(settings, dataset, path) -> runs.RunFolder:
    folder, identity = runs.RunFolder(path), settings.identity(dataset.split, dataset.data.digest())
    model.open_run(folder, identity, dataset.split)
    try:
        training.train(settings, dataset, folder, identity)
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


def test_tasks_are_of_training_classes_and_drawings_are_in_the_support_or_in_the_rest(dataset):
    def first_pixels(ink):
        return tf.reshape(ink, [-1, 16 * 16])

    drawings = training.TaskDrawings(dataset, first_pixels, upright_share=0.5)
    support, rest = drawings.draw(40, 2, SEED)
    known = {turned.tobytes() for image in dataset.data.images[:18, ..., 0] for turned in _turns(image)}
    for task in range(40):
        drawn = np.concatenate([support[task].numpy().reshape(2, -1), rest[task].numpy()])
        as_bytes = {np.rint(255 * (1 - d)).astype(np.uint8).tobytes() for d in drawn}
        assert len(as_bytes) == 6
        assert as_bytes <= known


def _turns(image):
    return [np.ascontiguousarray(np.rot90(image, k)) for k in range(4)]


def test_training_is_repeatable_and_moves_the_weights(run, settings, dataset, tmp_path):
    again = _train(settings, dataset, tmp_path / "again").path
    first, second = (model.WarpModel(path).generator.get_weights() for path in (run, again))
    start = settings.build_generator().get_weights()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.abs(a - b).max() > 0 for a, b in zip(first, start, strict=True))
    assert [line["step"] for line in _metric_lines(run)] == [2, 4, 6, 7]


@pytest.fixture(autouse=True, scope="module")
def often():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "_LOG_EVERY", 2)
        patched.setattr(training, "_CHECKPOINT_EVERY", 3)
        yield


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


def test_a_stopped_and_then_killed_training_goes_on_to_the_same_bits(run, settings, dataset, tmp_path, monkeypatch):
    path = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        patched.setattr(training, "signals_noted", lambda: contextlib.nullcontext(_StopAfter(7)))
        with pytest.raises(Interrupted, match=r"SIGTERM at step \d") as stop:
            _train(settings, dataset, path)
    assert stop.value.exit_status == 128 + 15
    with pytest.raises(RunError, match="has not finished"):
        model.WarpModel(path)
    (path / "metrics.jsonl").open("a").write('{"step": 6, "skill_blur": 1}\n{"step": 7, "torn')  # as a kill leaves it
    _train(settings, dataset, path)
    first, second = (model.WarpModel(folder).generator.get_weights() for folder in (run, path))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    lines = _metric_lines(path)
    assert [line["step"] for line in lines] == [2, 4, 6, 7]
    assert lines[-1] == _metric_lines(run)[-1]


def test_a_run_of_other_settings_or_another_kind_of_folder_is_not_trained_into(run, settings, dataset, tmp_path):
    with pytest.raises(RunError, match="was trained with seed=0, this command has seed=1"):
        _train(dataclasses.replace(settings, seed=1), dataset, run)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not a run of train_warp"):
        _train(settings, dataset, tmp_path)


def test_sizes_that_the_network_cannot_halve_are_refused():
    with pytest.raises(ValueError, match=r"a multiple of 16\. Received: image_size=40"):
        model.WarpSettings(datasets.DataSettings(image_size=40))


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


def test_an_altered_or_foreign_folder_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        models.load(tmp_path)
    with pytest.raises(RunError, match=r"no such run folder, nor a shipped model \(omniglot-32\)"):
        models.load("omniglot-64")
    for file in run.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    record = json.loads((tmp_path / "warp.json").read_text())
    (tmp_path / "warp.json").write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    with pytest.raises(RunError, match="does not match the sha256"):
        models.load(tmp_path)
    (tmp_path / "warp.json").write_text(json.dumps({"weights_sha256": "0" * 64}))
    with pytest.raises(RunError, match="not a trained warp generator"):
        models.load(tmp_path)
    (tmp_path / "warp.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        models.load(tmp_path)


def test_the_referee_finds_it_by_its_run_folder(run, dataset):
    judged = samplers.choose(str(run), None, None, None, num_samples=32, steps=[1])
    judged.check(dataset, None)
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    assert judged.sampler(support, None, 0)["model"].shape == (32, 16, 16, 1)
    moved = dataclasses.replace(dataset.split, training=dataset.split.held_out, held_out=dataset.split.training)
    with pytest.raises(RunError, match="split"):
        judged.check(dataset._replace(split=moved), None)
