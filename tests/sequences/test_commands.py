"""The commands on tiny glyphs, in this process; and what they refuse."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from figr_tf import (
    evaluate,
    evaluate_sequences,
    generate,
    models,
    package,
    train_sequences,
    write_samples,
)
from figr_tf.core.errors import UserError
from figr_tf.core.random import stateless_seed
from figr_tf.data import glyphs, loaders
from figr_tf.sequences import recurrence, system
from figr_tf.sequences.model import SequenceModel
from figr_tf.sequences.settings import SequenceSettings
from tests.commands import run_here
from tests.sequences.conftest import random_images

pytestmark = pytest.mark.whole

TRAIN = [
    "--image_size=4",
    "--width=8",
    "--num_blocks=1",
    "--num_meta_steps=40",
    "--log_every=10",
    "--meta_learning_rate=1e-2",
]


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer glyphs, and no XLA, which takes seconds to compile."""
    patch = pytest.MonkeyPatch()
    patch.setattr(loaders, "_GLYPH_CLASSES", 10)
    patch.setattr(SequenceSettings, "is_compiled", lambda settings, device: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One that takes steps, and the recurrent baseline."""
    folder = tmp_path_factory.mktemp("runs")
    for network in ("mlp", "recurrent"):
        own = ["--eval_every=40"] if network == "mlp" else ["--eval_every=80"]
        run_here(train_sequences, *TRAIN, *own, f"--network={network}", f"--run={folder / network}")
    return folder


def test_training_leaves_a_run_that_knows_more_than_a_coin_and_a_picture(runs):
    lines = [json.loads(line) for line in (runs / "mlp/metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["nats"] for line in lines if "nats" in line]).all()
    assert 0 < lines[-1]["held_out_nats"] < 0.9 * np.log(2)
    with Image.open(runs / "mlp/grids/step-000000040.png") as picture:
        assert picture.size == (8 * 12, 3 * 12)


def test_an_evaluation_has_a_row_for_each_run_and_one_for_the_pixels_by_themselves(
    runs, tmp_path, capsys
):
    json_file, picture = tmp_path / "out.json", tmp_path / "out.png"
    outputs = [f"--json={json_file}", f"--picture={picture}"]
    run_here(evaluate_sequences, f"--run={runs / 'mlp'},{runs / 'recurrent'}", *outputs)
    assert "20 held-out images of glyphs (every tenth image)" in capsys.readouterr().out
    rows = json.loads(json_file.read_text())["rows"]
    assert list(rows) == [
        "mlp (40 meta-steps), mlp, reptile",
        "recurrent (40 meta-steps), recurrent",
        "each pixel by itself",
    ]
    model = SequenceModel(runs / "mlp")
    sequences = system.load(model.settings.data)
    read = model.read(sequences.held_out)
    assert rows["mlp (40 meta-steps), mlp, reptile"]["mean"] == pytest.approx(
        np.mean(read.nats), abs=1e-6
    )
    training = sequences.stream.reshape(-1, 16)
    frequency = (training.sum(0) + 1) / (len(training) + 2)
    chance = np.where(sequences.held_out, frequency, 1 - frequency)
    assert rows["each pixel by itself"]["mean"] == pytest.approx(-np.log(chance).mean())
    with Image.open(picture) as shown:
        assert shown.width > 2 * 8 * 12


def test_an_animation_shows_what_was_seen_what_was_expected_and_what_it_cost(runs, tmp_path):
    gif = tmp_path / "out.gif"
    run_here(evaluate_sequences, f"--run={runs / 'mlp'},{runs / 'recurrent'}", f"--gif={gif}")
    model = SequenceModel(runs / "mlp")
    shown = system.load(model.settings.data).held_out[::5]
    nats = model.read(shown).nats.numpy()
    chance = np.where(shown, np.exp(-nats), 1 - np.exp(-nats))
    with Image.open(gif) as animation:
        assert animation.n_frames == 16  # One for each pixel of 4×4.
        for seen in (1, 6, 16):
            animation.seek(seen - 1)
            frame = np.asarray(animation.convert("RGB")).astype(int)
            for row, darkness in enumerate((shown, chance)):
                _is_shown(frame, row, darkness, seen)


def _is_shown(frame, row, darkness, seen):
    """Images of 112 pixels, eight pixels apart; a line of 18 above each row of them."""
    side = 112 // 4
    for image in range(4):
        for pixel in range(16):
            top = row * (112 + 18) + 18 + pixel // 4 * side + side // 2
            left = 8 + image * 120 + pixel % 4 * side + side // 2
            grey = 255 * (1 - darkness[image, pixel])
            expected = [grey] * 3 if pixel < seen else (200, 214, 232)
            np.testing.assert_allclose(frame[top, left], expected, atol=8)


def test_a_support_set_is_read_image_by_image_before_anything_is_drawn(runs, tmp_path):
    model, npz = models.load(runs / "mlp"), tmp_path / "out.npz"
    (tmp_path / "support").mkdir()
    for i, ink in enumerate(random_images(3)):
        Image.fromarray(255 - 255 * ink.reshape(4, 4).astype("u1")).save(
            tmp_path / f"support/{i}.png"
        )
    own = [f"--images={tmp_path / 'support'}", "--num_samples=3", "--seed=2"]
    run_here(generate, f"--run={runs / 'mlp'}", *own, f"--npz={npz}", f"--out={tmp_path / 'o.png'}")
    with np.load(npz) as arrays:
        support, drawn = arrays["support_images"], arrays["images"]
    np.testing.assert_array_equal(support.reshape(3, 16) == 0, random_images(3) == 1)
    weights, settings = model.weights, model.settings
    for image in support:
        ink = (image.reshape(1, 16) == 0).astype(np.float32)
        read = recurrence.run(settings.network, weights, settings.inner_learning_rate, ink)
        weights = {name: w[0] for name, w in read.weights.items()}
    uniform = tf.random.stateless_uniform([3, 16], stateless_seed(2), alg="philox")
    rate = settings.inner_learning_rate
    expected = recurrence.run(settings.network, weights, rate, uniform=uniform).targets
    np.testing.assert_array_equal(drawn.reshape(3, 16) == 0, expected.numpy() == 1)
    adapted = model.adapted(np.ones([4, 16], np.float32))
    assert np.abs(adapted["last/bias"] - model.weights["last/bias"]).max() > 1e-3
    with pytest.raises(ValueError, match=r"a step on each pixel.*num_inner_steps=3"):
        model.generate(support, 1, 0, 3)
    with pytest.raises(ValueError, match=r"4, 4, 1.*Received"):
        model.generate(support[:, :2])


def test_a_run_of_a_split_draws_for_its_held_out_classes_and_for_no_other(tmp_path, capsys):
    run, out, file = (tmp_path / name for name in ("run", "samples", "episodes.json"))
    split = "--held_out_classes=glyph002,glyph005"
    run_here(train_sequences, *TRAIN[:-1], "--num_meta_steps=1", split, f"--run={run}")
    row = {"support": [3, 1], "reference": [2], "held_out": [4]}
    file.write_text(json.dumps({"episodes": [row | {"class_name": "glyph005"}]}))
    where = [f"--run={run}", f"--episodes={file}", f"--out={out}", "--num_samples=2"]
    run_here(write_samples, *where)
    model = models.load(run)
    every = glyphs.glyph_images(5, 20, 4, seed=0)[[3, 1]]
    sample = model.generate(model.as_support(every), 2, 0)[1, ..., 0]
    with Image.open(out / "glyph005/001.png") as image:
        np.testing.assert_array_equal(image, np.kron(sample, np.ones([4, 4], np.uint8)))
    file.write_text(json.dumps({"episodes": [row | {"class_name": "glyph001"}]}))
    with pytest.raises(UserError, match="was trained on 1 of these 1 classes: glyph001"):
        run_here(write_samples, *where)


def test_a_run_without_a_split_has_seen_every_class_and_is_told_to_train_with_one(runs, tmp_path):
    row = {"class_name": "glyph001", "support": [3, 1], "reference": [2], "held_out": [4]}
    (tmp_path / "episodes.json").write_text(json.dumps({"episodes": [row]}))
    where = [f"--episodes={tmp_path / 'episodes.json'}", f"--out={tmp_path / 'samples'}"]
    with pytest.raises(
        UserError, match=r"on 1 of these 1 classes: glyph001\..* train with --split"
    ):
        run_here(write_samples, f"--run={runs / 'mlp'}", *where)


def test_a_run_is_packaged_and_draws_as_before(runs, tmp_path):
    run_here(package, f"--run={runs / 'mlp'}", f"--out={tmp_path / 'packaged'}")
    support = np.full([2, 4, 4, 1], 255, np.uint8)
    support[:, 1] = 0
    packaged, run = models.load(tmp_path / "packaged"), models.load(runs / "mlp")
    np.testing.assert_array_equal(packaged.generate(support, 3, 1), run.generate(support, 3, 1))


def test_an_evaluation_of_a_split_names_it_and_refuses_runs_of_another(runs, tmp_path, capsys):
    run = tmp_path / "split"
    run_here(train_sequences, *TRAIN, "--num_meta_steps=1", "--split=random", f"--run={run}")
    run_here(evaluate_sequences, f"--run={run}")
    assert "held-out images of glyphs (random (9 + 1 classes" in capsys.readouterr().out
    with pytest.raises(UserError, match="held_out=every tenth image"):
        run_here(evaluate_sequences, f"--run={run},{runs / 'mlp'}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--width=7"], "width must be even"),
        (["--inner_learning_rate=0"], "above 0"),
        (["--dataset=folder"], "needs --data_dir"),
        (["--split_seed=3"], "--split_seed is of a random --split"),
    ],
)
def test_trainings_that_cannot_be_are_refused_before_a_folder_is_made(tmp_path, arguments, said):
    with pytest.raises(UserError, match=said):
        run_here(train_sequences, *TRAIN, f"--run={tmp_path / 'run'}", *arguments)
    assert not (tmp_path / "run").exists()


def test_runs_of_other_systems_are_refused_by_name_and_so_is_this_one_elsewhere(runs, run_folder):
    with pytest.raises(UserError, match="is a run of 'gan'; a run of 'sequences' is needed"):
        run_here(evaluate_sequences, f"--run={run_folder}")
    with pytest.raises(UserError, match=r"the recurrent baseline.*nothing from a support set"):
        models.load(runs / "recurrent")
    with pytest.raises(UserError, match=r"is a run of 'sequences'.*--samples.*evaluate_sequences"):
        run_here(evaluate, f"--run={runs / 'mlp'}")
    with pytest.raises(UserError, match=r"network.network=mlp.*network.network=gated"):
        run_here(train_sequences, *TRAIN, f"--run={runs / 'mlp'}")
    for arguments, said in (
        (["--picture=out.txt"], r"ends in \.png"),
        (["--gif=out.png"], r"ends in \.gif"),
        (["--samples=out.txt"], "--samples: these are runs of images"),
        (["--text=a.txt"], "--text: these are runs of images"),
    ):
        with pytest.raises(UserError, match=said):
            run_here(evaluate_sequences, f"--run={runs / 'mlp'}", *arguments)
