"""The commands on tiny glyphs, in this process; and what they refuse."""

import json

import numpy as np
import pytest
from PIL import Image

from figr_tf import (
    evaluate,
    evaluate_pixelcnn,
    generate,
    models,
    train_pixelcnn,
    write_samples,
)
from figr_tf.core.errors import DataError, UserError
from figr_tf.data import glyphs, loaders
from figr_tf.evaluation.episodes import drawings_sha256
from figr_tf.pixelcnn import drawings
from figr_tf.pixelcnn.model import PixelCnnModel
from tests.commands import run_here

pytestmark = pytest.mark.whole

TRAIN = [
    "--image_size=8",
    "--planes=8",
    "--num_layers=2",
    "--num_shots=2",
    "--train_shots=8",
    "--eval_inner_steps=2",
    "--num_meta_steps=4",
    "--log_every=2",
    "--eval_every=4",
]


@pytest.fixture(scope="module", autouse=True)
def _few_glyphs():
    """To draw all of them takes seconds."""
    patch = pytest.MonkeyPatch()
    patch.setattr(loaders, "_GLYPH_CLASSES", 30)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "joint"
    run_here(train_pixelcnn, *TRAIN, f"--run={folder}")
    return folder


@pytest.fixture(scope="module")
def attention(run, tmp_path_factory):
    """Begun with the weights of the other run."""
    folder = tmp_path_factory.mktemp("runs") / "attention"
    own = [f"--start={run}", "--condition=attention", "--meta_learning_rate=0"]
    run_here(train_pixelcnn, *TRAIN, *own, f"--run={folder}")
    return folder


def test_training_leaves_a_run_with_finite_metrics_and_a_picture(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["nats"] for line in lines if "nats" in line]).all()
    assert lines[-1].keys() >= {"held_out_nats", "held_out_nats_adapted"}
    assert (run / "grids/step-000000004.png").exists()


def test_a_run_begins_with_the_weights_of_another(run, attention):
    first, second = PixelCnnModel(run), PixelCnnModel(attention)
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(second.weights[name], weight)
    assert second.settings.start_sha256 == first.weights_sha256
    assert set(second.weights) - set(first.weights) >= {"query", "key", "value"}


def test_an_evaluation_has_a_row_for_each_k_and_rate_and_a_column_for_each_side(
    run, attention, tmp_path, capsys
):
    out = tmp_path / "out.json"
    run_here(
        evaluate_pixelcnn,
        f"--run={run},{attention}",
        "--num_inner_steps=0,2",
        "--eval_learning_rate=0.1,0.3",
        "--num_classes=3",
        f"--json={out}",
    )
    table = capsys.readouterr().out
    assert "| | held_out, 3 classes | training, 3 classes |" in table
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == [
        "joint (4 meta-steps), K = 0",
        "joint (4 meta-steps), K = 2, rate 0.1",
        "joint (4 meta-steps), K = 2, rate 0.3",
        "attention (4 meta-steps), attention",
        "each pixel by itself",
    ]
    means = {name: sides["held_out"]["mean"] for name, sides in rows.items()}
    none, slow, fast, looked_up, _ = means.values()
    assert fast < slow < none
    # Attention is not trained here and begins with no influence, so it is the same density.
    assert looked_up == pytest.approx(none, rel=1e-5)
    record = json.loads(out.read_text())["runs"][str(run)]
    assert record["max_shift"] == 0
    assert record["num_inner_steps"] == [0, 2]
    held_out = rows["joint (4 meta-steps), K = 0"]["held_out"]
    assert held_out["mean"] == pytest.approx(np.mean(held_out["per_class"]), abs=1e-4)


def test_an_evaluation_may_move_the_drawings_of_a_run_that_did_not(run, tmp_path):
    found = []
    for max_shift in ("", "2", "2"):
        out = tmp_path / "out.json"
        moves = [f"--max_shift={max_shift}"] if max_shift else []
        own = ["--num_inner_steps=0,1,2", "--num_classes=2", "--sides=held_out", f"--json={out}"]
        run_here(evaluate_pixelcnn, f"--run={run}", *own, *moves)
        report = json.loads(out.read_text())
        assert report["runs"][str(run)]["max_shift"] == int(max_shift or 0)
        rows = {n.rpartition("K = ")[2]: s["held_out"]["mean"] for n, s in report["rows"].items()}
        found.append(rows)
    plain, moved, again = found
    assert moved == again
    assert list(moved)[:3] == ["0", "1, moves up to 2", "2, moves up to 2"]
    assert moved["0"] == plain["0"]
    assert moved["2, moves up to 2"] != plain["2"]


def test_an_evaluation_has_the_runs_own_number_of_steps_where_none_is_given(run, tmp_path):
    out = tmp_path / "out.json"
    own = ["--num_classes=2", "--sides=held_out", f"--json={out}"]
    run_here(evaluate_pixelcnn, f"--run={run}", *own)
    rows = [name.rpartition("K = ")[2] for name in json.loads(out.read_text())["rows"]]
    assert rows[:3] == ["0", "2", "10"]


def test_generate_draws_a_picture_and_an_animation_of_black_and_white_samples(run, tmp_path):
    out, gif, npz = (tmp_path / f"out.{kind}" for kind in ("png", "gif", "npz"))
    own = ["--images=examples/fish", "--num_samples=3", "--num_inner_steps=2"]
    run_here(generate, f"--run={run}", *own, f"--out={out}", f"--gif={gif}", f"--npz={npz}")
    with np.load(npz) as arrays:
        assert arrays["images"].shape == (3, 8, 8, 1)
        assert set(np.unique(arrays["images"])) <= {0, 255}
        assert set(np.unique(arrays["support_images"])) == {0, 255}
    with Image.open(gif) as frames:
        assert frames.n_frames > 1
    model = PixelCnnModel(run)
    support = model.read_support("examples/fish")
    along = model.samples_along(support, [0, 2], 3, seed=5)
    for images, k in zip(along, (0, 2), strict=True):
        np.testing.assert_array_equal(images, model.generate(support, 3, 5, k))


def _episodes(path, names, support=(1, 0)):
    rows = [
        {"class_name": n, "support": list(support), "reference": [2], "held_out": [3]}
        for n in names
    ]
    path.write_text(json.dumps({"episodes": rows}))
    return path


def test_samples_for_episodes_are_those_of_the_support_and_what_is_there_stays(
    run, tmp_path, capsys
):
    names = ["glyph015", "glyph018"]
    episodes, out = _episodes(tmp_path / "e.json", names), tmp_path / "samples"
    arguments = [f"--run={run}", f"--episodes={episodes}", f"--out={out}", "--num_samples=2"]
    run_here(write_samples, *arguments)
    assert "2 classes of 2 samples" in capsys.readouterr().out
    for file in (out / "glyph018").iterdir():
        file.unlink()
    run_here(write_samples, *arguments)
    assert list((out / "glyph018").iterdir()) == []
    with Image.open(out / "glyph015" / "001.png") as image:
        large = np.asarray(image)
    model = PixelCnnModel(run)
    every = glyphs.glyph_images(15, 20, drawings.decoded_size(8), seed=0)[[1, 0]]
    support = drawings.to_pixels(drawings.pooled(every))
    sample = model.generate(support, 2, 0)[1, ..., 0]
    np.testing.assert_array_equal(large, np.kron(sample, np.ones([4, 4], np.uint8)))


def test_samples_of_another_seed_or_of_nobody_knows_what_are_not_added_to(run, tmp_path):
    episodes = _episodes(tmp_path / "e.json", ["glyph015"])
    arguments = [f"--run={run}", f"--episodes={episodes}", "--num_samples=2"]
    out = f"--out={tmp_path / 'samples'}"
    run_here(write_samples, *arguments, out)
    with pytest.raises(UserError, match=r"holds samples of seed=0, this command draws seed=1\."):
        run_here(write_samples, *arguments, out, "--seed=1")
    (tmp_path / "samples/.samples.json").write_text("{")
    with pytest.raises(UserError, match=r"\.samples\.json: is damaged"):
        run_here(write_samples, *arguments, out)
    (tmp_path / "mine/glyph015").mkdir(parents=True)
    with pytest.raises(UserError, match="is not empty, and nothing tells what is in it"):
        run_here(write_samples, *arguments, f"--out={tmp_path / 'mine'}")


def test_samples_of_another_run_are_not_added_to(run, attention, tmp_path):
    episodes = _episodes(tmp_path / "e.json", ["glyph015"])
    arguments = [f"--episodes={episodes}", "--num_samples=2", f"--out={tmp_path / 'samples'}"]
    run_here(write_samples, f"--run={run}", *arguments)
    with pytest.raises(UserError, match="holds samples of weights_sha256="):
        run_here(write_samples, f"--run={attention}", *arguments)


def test_episodes_of_the_same_drawings_in_another_order_are_refused(run, tmp_path):
    drawn = glyphs.glyph_images(15, 20, 16, seed=0)
    path = _episodes(tmp_path / "e.json", ["glyph015"])
    text = json.loads(path.read_text()) | {"image_size": 16, "channels": 1}
    arguments = [f"--run={run}", f"--episodes={path}", "--num_samples=2"]
    for images, out in ((drawn, "right"), (drawn[::-1], "turned")):
        facts = {"drawings_sha256": drawings_sha256({"glyph015": images})}
        path.write_text(json.dumps(text | facts))
        if out == "right":
            run_here(write_samples, *arguments, f"--out={tmp_path / out}")
            record = json.loads((tmp_path / out / ".samples.json").read_text())
            # Its own reading of the data, at the size of its network.
            own = {"glyph015": glyphs.glyph_images(15, 20, drawings.decoded_size(8), seed=0)}
            assert record["drawings_sha256"] == drawings_sha256(own)
        else:
            with pytest.raises(DataError, match="or for the same in another order"):
                run_here(write_samples, *arguments, f"--out={tmp_path / out}")


def test_samples_for_other_data_or_of_other_models_are_refused(run, tmp_path):
    episodes = _episodes(tmp_path / "e.json", ["Greek/character01"])
    where = [f"--episodes={episodes}", f"--out={tmp_path / 'samples'}"]
    with pytest.raises(UserError, match="Greek/character01' is not in glyphs"):
        run_here(write_samples, f"--run={run}", *where)
    _episodes(tmp_path / "e.json", ["glyph015", "glyph001"])
    with pytest.raises(UserError, match="was trained on 1 of these 2 classes: glyph001"):
        run_here(write_samples, f"--run={run}", *where)
    with pytest.raises(UserError, match=r"figr_tf.evaluate --run=omniglot-32-redraw"):
        run_here(write_samples, "--run=omniglot-32-redraw", *where)


def test_bad_input_is_refused_by_the_model(run, attention):
    model, support = PixelCnnModel(run), np.zeros([2, 8, 8, 1], np.uint8)
    with pytest.raises(ValueError, match=r"8, 8, 1.*Received"):
        model.generate(np.zeros([2, 26, 26, 1], np.uint8))
    with pytest.raises(ValueError, match=r"num_inner_steps ≥ 0.*-1"):
        model.generate(support, 1, 0, -1)
    with pytest.raises(ValueError, match="no inner loop"):
        PixelCnnModel(attention).generate(support, 1, 0, 5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sides=test"], "Omniglot's; none is here"),
        (["--sides=all"], "some of held_out, training, test"),
        (["--num_inner_steps=-1"], "0 or more"),
        (["--eval_learning_rate=fast"], "numbers above 0"),
        (["--json=no-folder/out.json"], "its folder does not exist"),
    ],
)
def test_evaluations_that_cannot_be_are_refused(run, arguments, said):
    with pytest.raises(UserError, match=said):
        run_here(evaluate_pixelcnn, f"--run={run}", *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--image_size=7"], "multiple of 2"),
        (["--train_shots=21"], "classes have 21 images or more"),
        (["--batch_size=9"], "leave a batch"),
        (["--start=RUN", "--planes=4"], "has planes=8, this command has planes=4"),
        (["--start=nowhere"], "nowhere: not a run folder"),
        (["--start=RUN", "--split_seed=1"], "was trained on . of the held-out classes"),
    ],
)
def test_trainings_that_cannot_be_are_refused_before_a_folder_is_made(
    run, tmp_path, arguments, said
):
    arguments = [argument.replace("RUN", str(run)) for argument in arguments]
    with pytest.raises(UserError, match=said):
        run_here(train_pixelcnn, *TRAIN, f"--run={tmp_path / 'run'}", *arguments)
    assert not (tmp_path / "run").exists()


def test_runs_of_other_systems_are_refused_by_name_and_so_is_this_one_elsewhere(run, run_folder):
    with pytest.raises(UserError, match="is a run of 'gan'; a run of 'pixelcnn' is needed"):
        PixelCnnModel(run_folder)
    with pytest.raises(UserError, match=r"system=gan.*system=pixelcnn"):
        run_here(train_pixelcnn, *TRAIN, f"--run={run_folder}")
    with pytest.raises(UserError, match=r"is a run of 'pixelcnn'.*--samples.*evaluate_pixelcnn"):
        run_here(evaluate, f"--run={run}")
    assert isinstance(models.load(run), PixelCnnModel)
