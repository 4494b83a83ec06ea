"""A run that was killed, stopped and continued, and what the commands make of it."""

import pathlib
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests import commands
from tests.conftest import ROOT
from tests.e2e import small_data
from tests.e2e.test_commands import _run

START_TIMEOUT = 120.0  # seconds; a loaded machine takes a while to import and to trace


def _newest_step(runs_dir: pathlib.Path) -> int:
    # Not by rglob: it enters the folder that a save in progress removes.
    saved = runs_dir.glob("*/checkpoints/ckpt-*.index")
    return max((int(path.stem.removeprefix("ckpt-")) for path in saved), default=0)


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
    status, _ = _signalled_at(7, signal.SIGKILL, runs_dir, *small_data.TRAIN)
    assert status == -signal.SIGKILL
    killed_at = _newest_step(runs_dir)
    assert 7 <= killed_at < 30

    status, output = _signalled_at(killed_at + 8, signal.SIGTERM, runs_dir, *small_data.TRAIN)
    # A kill in the last moment of a save tears the index: then the one before is taken, with a
    # warning.
    torn = f"ckpt-{killed_at:09d} is damaged" in output
    assert f"continuing at meta-step {killed_at - torn}\n" in output
    assert "stopped by SIGTERM at meta-step" in output
    assert status == 128 + signal.SIGTERM
    assert _newest_step(runs_dir) < 30

    result = _run("train", *small_data.TRAIN, f"--runs_dir={runs_dir}")
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
    result = _run("train", *small_data.TRAIN, "--num_meta_steps=21", f"--run={broken_run}")
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


def test_another_image_size_into_the_same_run_is_refused_naming_both(broken_run):
    result = _run("train", *small_data.TRAIN, "--image_size=32", f"--run={broken_run}")
    assert result.returncode == 1
    assert "image_size=16, this command has" in result.stderr
    assert "image_size=32" in result.stderr
    assert result.stderr.count("\n") == 1
