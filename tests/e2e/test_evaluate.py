"""figr_tf.evaluate as a user types it, on a small Omniglot made of glyphs."""

import io
import json
import pathlib
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from exporters import saved_model
from exporters.limits import Limits
from figr_tf.data import glyphs
from figr_tf.data.datasets import DataSettings, load_dataset
from figr_tf.evaluation import samplers
from figr_tf.evaluation.episodes import Episode
from figr_tf.gan.networks import NetworkSpec
from figr_tf.gan.settings import Settings
from tests.conftest import untrained_run
from tests.e2e.test_commands import _run

pytestmark = pytest.mark.whole

SMALL = ["--num_classes=6", "--seeds=2", "--num_inner_steps=1,2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    """Omniglot's two zips in its layout: eight background and eight evaluation classes of twelve
    glyphs.
    """
    folder = tmp_path_factory.mktemp("omniglot")
    for part, first in (("images_background", 0), ("images_evaluation", 8)):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for c in range(first, first + 8):
                for i, image in enumerate(glyphs.glyph_images(c, 12, 32, seed=0), start=1):
                    buffer = io.BytesIO()
                    Image.fromarray(image[..., 0]).save(buffer, "PNG")
                    archive.writestr(
                        f"{part}/Alphabet/character{c + 1:02d}/{c:04d}_{i:02d}.png",
                        buffer.getvalue(),
                    )
    return folder


@pytest.fixture(scope="module")
def where(data):
    return [f"--data_dir={data}", f"--cache_dir={data / 'cache'}"]


def _run_of(data, path: pathlib.Path, image_size: int = 32) -> pathlib.Path:
    """A run that was recorded and not trained."""
    settings = Settings(
        data=DataSettings("omniglot", str(data), image_size, cache_dir=str(data / "cache")),
        network=NetworkSpec("lean", image_size, hidden=1, blocks_per_stage=0),
        num_inner_steps=2,
    )
    return untrained_run(path, settings, load_dataset(settings.data, settings.num_shots))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return _run_of(data, tmp_path_factory.mktemp("runs") / "run")


def test_a_run_is_judged_twice_to_the_same_last_digit(trained, where, tmp_path):
    tables = []
    for attempt in range(2):
        outputs = [f"--{kind}={tmp_path / f'{attempt}.{kind}'}" for kind in ("json", "markdown")]
        result = _run(
            "evaluate",
            f"--run={trained}",
            *SMALL,
            *where,
            *outputs,
            f"--picture={tmp_path / 'out.png'}",
        )
        assert result.returncode == 0, result.stderr
        tables.append((tmp_path / f"{attempt}.markdown").read_text())
    assert tables[0] == tables[1]
    for row in (
        "initialisation, 0 steps",
        "untrained, K = 2",
        "model, K = 1",
        "model, K = 2",
        "support + large affine",
    ):
        assert f"| {row} |" in tables[0]
    numbers = json.loads((tmp_path / "0.json").read_text())
    assert numbers["judged"]["meta_step"] == 12
    assert len(numbers["embedding_sha256"]) == len(numbers["split_sha256"]) == 64
    assert {"seeds", "versions", "seconds", "classes"} <= set(numbers)
    assert len(numbers["rows"]["model, K = 2"]["energy_distance_per_class"]["embedding"]) == 6
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 6 * 4 * 60


def test_samples_of_another_generator_are_judged_in_the_same_table(where, data, tmp_path):
    """The other generator here draws perfectly: fresh glyphs of the class."""
    written = _run("evaluate", f"--write_episodes={tmp_path / 'e.json'}", "--num_classes=6", *where)
    assert written.returncode == 0, written.stderr
    episodes = json.loads((tmp_path / "e.json").read_text())["episodes"]
    for episode in episodes:
        folder = tmp_path / "samples" / episode["class_name"]
        folder.mkdir(parents=True)
        index = int(episode["class_name"][-2:]) - 1
        for i, image in enumerate(glyphs.glyph_images(index, 80, 32, seed=0)[12:]):
            Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    arguments = [
        f"--samples={tmp_path / 'samples'}",
        f"--episodes={tmp_path / 'e.json'}",
        "--num_classes=6",
        *where,
    ]
    result = _run("evaluate", *arguments, f"--json={tmp_path / 'out.json'}")
    assert result.returncode == 0, result.stderr
    values = json.loads((tmp_path / "out.json").read_text())["rows"]["samples"]["values"]
    assert values["skill embedding"] > 0.7
    assert values["skill blur"] > 0.7

    folder = tmp_path / "samples" / episodes[0]["class_name"]
    # As few as copies of the support could be: they would pass for real drawings.
    for number, message in ((4, "4 images; a class is judged by 64"), (0, "no images of this")):
        for path in sorted(folder.iterdir())[number:]:
            path.unlink()
        result = _run("evaluate", *arguments)
        assert result.returncode == 1
        assert f"{folder}: {message}" in result.stderr
        assert result.stderr.count("\n") == 1


class _CopyingModel(tf.Module):
    """A SavedModel of the serving contract that repeats its support in turn."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 32, 32, 1], tf.float32, "support_images"),
            tf.TensorSpec([], tf.int32, "num_samples"),
            tf.TensorSpec([], tf.int32, "num_inner_steps"),
            tf.TensorSpec([], tf.int64, "seed"),
        ]
    )
    def generate_tensor(self, support_images, num_samples, num_inner_steps, seed):
        turn = tf.range(num_samples) % tf.shape(support_images)[0]
        return {
            "images": tf.gather(support_images, turn)
            + 0.0 * tf.cast(num_inner_steps + tf.cast(seed, tf.int32), tf.float32)
        }


def test_a_saved_model_is_judged_through_its_signature(where, tmp_path):
    model = _CopyingModel()
    tf.saved_model.save(
        model, str(tmp_path / "model"), signatures={"generate_tensor": model.generate_tensor}
    )
    result = _run(
        "evaluate",
        f"--saved_model={tmp_path / 'model'}",
        *SMALL,
        *where,
        f"--json={tmp_path / 'out.json'}",
    )
    assert result.returncode == 0, result.stderr
    values = json.loads((tmp_path / "out.json").read_text())["rows"]["model, K = 2"]["values"]
    assert values["copy AUC"] == 1
    assert abs(values["skill embedding"]) < 0.2


@pytest.mark.slow
def test_an_export_is_judged_like_the_run_it_was_made_from(trained, where, tmp_path):
    request = saved_model.ExportRequest(
        trained, "generate", ("generate_tensor",), Limits(), 16, None, None
    )
    exported = saved_model.export(request, tmp_path / "models", None)
    values = []
    for kind, path in (("run", trained), ("saved_model", exported.path)):
        result = _run(
            "evaluate", f"--{kind}={path}", *SMALL, *where, f"--json={tmp_path / f'{kind}.json'}"
        )
        assert result.returncode == 0, result.stderr
        values.append(
            json.loads((tmp_path / f"{kind}.json").read_text())["rows"]["model, K = 2"]["values"]
        )
    assert values[1] == pytest.approx(values[0], abs=0.05)
    result = _run("evaluate", f"--saved_model={exported.path}", "--num_inner_steps=999", *where)
    assert result.returncode == 1
    assert "refuses the request: " in result.stderr
    assert "num_inner_steps must be from 0 to 200. Received: 999" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples=x"], "--samples and --episodes go together"),
        (["--run=x", "--saved_model=y"], "judge one at a time"),
        (["--num_samples=32"], "less than 16·n = 64"),
        (["--num_inner_steps=1,few"], "give whole numbers"),
        (["--channels=2"], "give 1 (grey) or 3 (colour)"),
        (["--features=/nonexistent.npz"], "nonexistent.json: no record"),
        (["--features=x.npz", "--json=x.json"], "x.json: is the record of --features"),
        (["--saved_model=/nonexistent"], "not a SavedModel"),
        (["--write_deck=d.npz", "--run=x"], "--run: a deck is of Omniglot's characters"),
        (["--write_deck=d.npz", "--dataset=icons"], "--dataset: a deck is of Omniglot's"),
        (["--picture=a.png"], "--picture shows samples"),
        (["--run=/nonexistent"], "no such run folder"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, where):
    result = _run("evaluate", *arguments, *where)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_of_another_image_size_is_refused(data, where, tmp_path):
    run = _run_of(data, tmp_path / "run", image_size=16)
    result = _run("evaluate", f"--run={run}", *where)
    assert result.returncode == 1
    assert "judged at 32×32 pixels; those of run are smaller: image_size=16" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_run_is_judged_on_the_data_of_its_training_unless_other_data_is_named(trained, where):
    result = _run("evaluate", f"--run={trained}", "--split=random", *where)
    assert result.returncode == 1
    assert "--split: a run is judged on the data and split that it was trained on" in result.stderr
    result = _run("evaluate", f"--run={trained}", "--image_size=64", *where)
    assert result.returncode == 1
    assert f"--image_size=64: {trained.name} has 32." in result.stderr


def test_no_way_of_naming_the_data_judges_a_run_on_classes_of_its_training(trained, where):
    for way in ("--split=all", "--held_out_classes=Alphabet/character01,Alphabet/character09"):
        result = _run("evaluate", f"--run={trained}", "--dataset=omniglot", way, *where)
        assert result.returncode == 1
        assert f"{trained}: was trained on " in result.stderr
        assert "Leave --dataset away" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_run_is_judged_at_its_own_number_of_inner_steps_where_none_is_given(trained):
    judged = samplers.choose(
        run=trained, saved_model=None, samples=None, episodes=None, num_samples=64, steps=[]
    )
    support = glyphs.glyph_images(0, 4, 32, seed=0)
    rows = judged.sampler(support, Episode("glyph", *[np.arange(1)] * 3), 1)
    assert list(rows) == [
        "initialisation, 0 steps",
        *(f"model, K = {k}" for k in (2, 10, 50)),
    ]
    assert judged.row == "model, K = 50"


def test_own_sketches_of_unequal_classes_are_judged_and_a_class_too_small_is_named(tmp_path, where):
    """By a model of other data: all classes are new to it. n is that of its training."""
    for c in range(5):
        folder = tmp_path / "sketches" / f"glyph{c}"
        folder.mkdir(parents=True)
        for i, image in enumerate(glyphs.glyph_images(c, 7 + c, 32, seed=0)):
            Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    result = _run(
        "evaluate", "--run=omniglot-32-redraw", "--dataset=folder", "--split=all", "--seeds=1",
        f"--data_dir={tmp_path / 'sketches'}", where[1], f"--json={tmp_path / 'out.json'}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "fewer than the 8 drawings that n = 4 asks for: glyph0\n" in result.stderr
    for note in (
        "4 classes of folder, n = 4, M = 64",
        "choose among 4 classes",
        "feature network: Omniglot's background characters",
        "4 classes: intervals are stretched",
    ):
        assert note in result.stdout
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["classes"] == ["glyph1", "glyph2", "glyph3", "glyph4"]
    low, high = report["rows"]["model"]["intervals"]["skill blur"]
    assert high - low > 0.1


def test_a_run_of_another_split_is_refused_naming_both(trained, where, tmp_path):
    settings = (trained / "settings.json").read_text()
    try:
        (trained / "settings.json").write_text(
            settings.replace('"split": null', '"split": "random"')
        )
        result = _run("evaluate", f"--run={trained}", *where)
    finally:
        (trained / "settings.json").write_text(settings)
    assert result.returncode == 1
    assert "split=unseen-alphabets (8 + 8" in result.stderr
    assert "split=random (" in result.stderr
    assert np.size(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_warp_generator_is_trained_and_judged_and_is_finished_when_asked_for_again(
    where, tmp_path
):
    run = f"--run={tmp_path / 'warp'}"
    training = ["train_warp", run, "--dataset=omniglot", "--num_steps=2", *where]
    first, again = _run(*training), _run(*training)
    for result in (first, again):
        assert result.returncode == 0, result.stderr
        assert f"finished: {tmp_path / 'warp'}" in result.stdout
    assert "building the graph" in first.stdout
    assert "building the graph" not in again.stdout
    few = ["--num_classes=6", "--seeds=2"]
    result = _run("evaluate", run, *few, *where, f"--json={tmp_path / 'out.json'}")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    assert "model" in report["rows"]
    assert len(report["judged"]["weights_sha256"]) == 64
