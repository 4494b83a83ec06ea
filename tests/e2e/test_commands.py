"""Whole runs of the commands, as a user types them, in processes that can be killed."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import figr_tf
from figr_tf.gan.networks import NetworkSpec, build_networks
from tests import commands
from tests.conftest import ROOT
from tests.e2e import small_data

# Checkpoints after every meta-step, so that a kill often lands in the middle of a save.
TRAIN = [
    *small_data.FLAGS,
    "--architecture=lean",
    "--blocks_per_stage=0",
    "--hidden=2",
    "--image_size=16",
    "--latent_dim=8",
    "--num_shots=3",
    "--num_inner_steps=2",
    "--meta_learning_rate=1e-3",
    "--num_meta_steps=30",
    "--log_every=5",
    "--eval_every=100",
    "--checkpoint_every=1",
]
REDRAW = ["--run=omniglot-32-redraw", "--images=examples/key"]
START_TIMEOUT = 120.0  # seconds; a loaded machine takes a while to import and to trace


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return commands.run(f"figr_tf.{module}", *arguments)


def _newest_step(runs_dir: pathlib.Path) -> int:
    return max(
        (int(p.stem.removeprefix("ckpt-")) for p in runs_dir.rglob("ckpt-*.index")), default=0
    )


def _signalled_at(
    meta_step: int, number: int, runs_dir: pathlib.Path, *arguments: str
) -> tuple[int, str]:
    """Starts training, sends it a signal once it has reached a meta-step; its exit status and
    output.
    """
    process = commands.Process(
        "figr_tf.train", [*arguments, f"--runs_dir={runs_dir}"], together=True
    )
    deadline = time.monotonic() + START_TIMEOUT
    while (
        _newest_step(runs_dir) < meta_step
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def _final_tensors(run: pathlib.Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run / "checkpoints/ckpt-000000030"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if "OBJECT_GRAPH" not in name
    }


@pytest.fixture(scope="module")
def broken_run(tmp_path_factory):
    """A run killed with kill -9, continued, ended with SIGTERM, and continued to its end."""
    runs_dir = tmp_path_factory.mktemp("broken")
    status, _ = _signalled_at(7, signal.SIGKILL, runs_dir, *TRAIN)
    assert status == -signal.SIGKILL
    killed_at = _newest_step(runs_dir)
    assert 7 <= killed_at < 30

    status, output = _signalled_at(killed_at + 8, signal.SIGTERM, runs_dir, *TRAIN)
    # A kill in the last moment of a save tears the index: then the one before is taken, with a
    # warning.
    torn = f"ckpt-{killed_at:09d} is damaged" in output
    assert f"continuing at meta-step {killed_at - torn}\n" in output
    assert "stopped by SIGTERM at meta-step" in output
    assert status == 128 + signal.SIGTERM
    assert _newest_step(runs_dir) < 30

    result = _run("train", *TRAIN, f"--runs_dir={runs_dir}")
    assert result.returncode == 0, result.stderr
    assert [p.name for p in runs_dir.iterdir()] == ["00001-folder-lean-h2"]
    return runs_dir / "00001-folder-lean-h2"


def test_a_killed_and_continued_run_ends_with_the_bits_of_an_unbroken_one(broken_run, tmp_path):
    """The unbroken one is started from the broken one's own flagfile."""
    own = [f"--flagfile={broken_run / 'flags.txt'}", "--eval_every=30", f"--runs_dir={tmp_path}"]
    result = _run("train", *own)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "continuing" not in result.stdout
    # Output that is no terminal tells progress, rate and time left all the same.
    line = next(line for line in result.stdout.splitlines() if line.startswith("meta-step 10/30"))
    assert "meta-steps/s  ETA 0:00:" in line
    unbroken, broken = (
        _final_tensors(tmp_path / "00001-folder-lean-h2"),
        _final_tensors(broken_run),
    )
    assert unbroken.keys() == broken.keys()
    assert len(unbroken) > 100  # both networks and both Adam states
    for name, value in unbroken.items():
        np.testing.assert_array_equal(broken[name], value, err_msg=name)


def test_metrics_of_a_continued_run_have_each_meta_step_once(broken_run):
    steps = [line.split(",")[0] for line in (broken_run / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) == len(set(steps)) == 6


def test_fewer_meta_steps_than_a_run_has_are_refused_and_its_record_stays(broken_run):
    before = (broken_run / "flags.txt").read_text()
    result = _run("train", *TRAIN, "--num_meta_steps=21", f"--run={broken_run}")
    assert result.returncode == 1
    assert "has 30 meta-steps already, --num_meta_steps=21 is less" in result.stderr
    assert (broken_run / "flags.txt").read_text() == before


def test_generate_writes_picture_arrays_and_animation(broken_run, tmp_path):
    outputs = {kind: tmp_path / f"out.{kind}" for kind in ("png", "npz", "gif")}
    result = _run(
        "generate",
        f"--run={broken_run}",
        f"--images={ROOT / 'examples/glyph'}",
        "--num_samples=20",
        "--seed=7",
        f"--out={outputs['png']}",
        f"--npz={outputs['npz']}",
        f"--gif={outputs['gif']}",
    )
    assert result.returncode == 0, result.stderr
    assert "20 samples from 4 images, meta-step 30" in result.stdout
    with np.load(outputs["npz"]) as arrays:
        assert arrays["support_images"].shape == (4, 16, 16, 1)
        assert arrays["images"].shape == (20, 16, 16, 1)
        with Image.open(outputs["png"]) as picture:
            assert picture.size == (16 * 36, 3 * 36)
            shown = np.asarray(picture)[2:34:2, 2:34:2, 0]
        np.testing.assert_array_equal(shown, arrays["support_images"][0, ..., 0])
    with Image.open(outputs["gif"]) as animation:
        assert animation.n_frames == 3


@pytest.mark.parametrize("run", ["", "omniglot-32-redraw"])
def test_a_shipped_model_draws_by_its_name_and_one_without_any(run, tmp_path):
    own = [f"--run={run}"] if run else []
    images, picture = ROOT / "examples/fish", tmp_path / "out.png"
    steps = [] if run else ["--num_inner_steps=20"]
    few = [*own, *steps, "--num_samples=8"]
    arrays = tmp_path / "out.npz"
    places = [f"--images={images}", f"--out={picture}", f"--npz={arrays}"]
    result = _run("generate", *few, *places)
    assert result.returncode == 0, result.stderr
    age = figr_tf.load(run or "omniglot-32").age
    assert f"8 samples from 4 images, {age}" in result.stdout
    with np.load(arrays) as drawn:
        assert drawn["images"].min() < 64
    assert picture.exists()


def test_a_packaged_run_draws_the_pictures_of_the_run(broken_run, tmp_path):
    packaged = tmp_path / "packaged"
    made = _run("package", f"--run={broken_run}", f"--out={packaged}")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(f"{packaged}: meta-step 30, 0.")
    pictures = [tmp_path / "run.npz", tmp_path / "packaged.npz"]
    for run, arrays in zip((broken_run, packaged), pictures, strict=True):
        drawing = [f"--run={run}", f"--images={ROOT / 'examples/glyph'}", "--num_samples=4"]
        result = _run("generate", *drawing, f"--out={tmp_path / 'out.png'}", f"--npz={arrays}")
        assert result.returncode == 0, result.stderr
    with np.load(pictures[0]) as first, np.load(pictures[1]) as second:
        np.testing.assert_array_equal(first["images"], second["images"])
    again = _run("package", f"--run={broken_run}", f"--out={packaged}")
    assert again.returncode == 1
    assert "exists. Choose another folder" in again.stderr
    assert len(again.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("train", ["--num_shot=3"], "Unknown command line flag 'num_shot'"),
        ("train", ["omniglot"], "unexpected argument 'omniglot'"),
        ("train", ["--hidden", "two"], "flag --hidden=two"),
        ("train", ["--image_size=28"], "image_size must be a positive multiple of 16"),
        ("train", ["--dataset=folder"], "--dataset=folder needs --data_dir"),
        (
            "train",
            ["--dataset=mnist", "--split=unseen-alphabets"],
            "mnist has the splits paper, random",
        ),
        ("train", ["--seed=5000000000"], "--seed=5000000000"),
        (
            "generate",
            ["--run=nowhere", "--images=examples/glyph"],
            "nowhere: no such run folder, nor a shipped model",
        ),
        ("generate", [], "--images"),
        (
            "generate",
            [*REDRAW, "--gif=a.gif"],
            "omniglot-32-redraw: has no number of inner steps to choose. Leave --num_inner",
        ),
        (
            "generate",
            [*REDRAW, "--num_inner_steps=5"],
            "omniglot-32-redraw: has no number of inner steps to choose. Leave",
        ),
        (
            "generate",
            ["--run=x", "--images=y", "--out=no/such/folder/out.png"],
            "its folder does not exist",
        ),
        (
            "generate",
            ["--run=x", "--images=y", "--gif=a.jpg"],
            "a.jpg: give it a name that ends in .gif",
        ),
        (
            "generate",
            ["--run=x", "--images=y", "--npz=arr"],
            "arr: give it a name that ends in .npz",
        ),
        (
            "package",
            ["--run=nowhere", "--out=x"],
            "nowhere: no such run folder, nor a shipped model",
        ),
        ("package", ["--run=omniglot-32"], "--out"),
    ],
)
def test_mistakes_end_in_one_line_that_names_them(module, arguments, message, tmp_path):
    result = _run(module, *arguments, *([f"--runs_dir={tmp_path}"] if module == "train" else []))
    assert result.returncode == 1
    assert message in result.stderr
    # absl adds a line on --help to mistakes in the flags themselves.
    assert len(result.stderr.splitlines()) == (2 if "Pass --helpshort" in result.stderr else 1)
    assert list(tmp_path.iterdir()) == []


def test_dry_run_prints_the_plan_and_changes_nothing(tmp_path):
    result = _run("train", *TRAIN, f"--runs_dir={tmp_path}", "--dry_run")
    assert result.returncode == 0
    assert "lean h=2, 16×16×1; n=3, K=2, 30 meta-steps" in result.stdout
    pair = build_networks(NetworkSpec("lean", 16, 1, 2, 8, blocks_per_stage=0), seed=0)
    generator, discriminator = (network.count_params() for network in pair)
    listed = f"weights: generator {generator:,}, discriminator {discriminator:,}; "
    assert listed in result.stdout
    assert " per meta-step, measured over " in result.stdout
    assert " for all 30, " in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_another_image_size_into_the_same_run_is_refused_naming_both(broken_run):
    result = _run("train", *TRAIN, "--image_size=32", f"--run={broken_run}")
    assert result.returncode == 1
    assert "image_size=16, this command has" in result.stderr
    assert "image_size=32" in result.stderr
    assert result.stderr.count("\n") == 1


def test_help_explains_every_flag_with_its_unit(tmp_path):
    result = _run("train", "--help")
    for text in (
        "Inner-loop steps per task (K)",
        "Height and width in pixels",
        "Meta-steps between checkpoints",
    ):
        assert text in result.stdout


def test_keras_on_another_backend_is_refused_in_one_line():
    result = subprocess.run(
        [sys.executable, "-m", "figr_tf.train", "--dry_run"],
        cwd=ROOT,
        env=commands.ENVIRONMENT | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert (
        result.stderr
        == "error: figr_tf needs Keras on TensorFlow. Received: KERAS_BACKEND=jax; unset it.\n"
    )


@pytest.mark.skipif(
    os.geteuid() == 0 and not pathlib.Path("/proc/self").exists(),
    reason="needs a folder nobody can write",
)
def test_a_folder_that_cannot_be_written_is_one_line():
    result = _run("train", *TRAIN, "--runs_dir=/proc/self/runs")
    assert result.returncode == 1
    assert result.stderr.startswith("error: /proc/self/runs")
    assert len(result.stderr.splitlines()) == 1
