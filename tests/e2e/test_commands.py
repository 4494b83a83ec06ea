"""The commands as a user types them: help, mistakes, and models that ship."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import figr_tf
from figr_tf.gan.networks import NetworkSpec, build_networks
from tests import commands
from tests.conftest import ROOT
from tests.e2e import small_data

REDRAW = ["--run=omniglot-32-redraw", "--images=examples/key"]


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return commands.run(f"figr_tf.{module}", *arguments)


@pytest.mark.parametrize("run", ["", "omniglot-32-redraw"])
def test_a_shipped_model_draws_by_its_name_and_one_without_any(run, tmp_path):
    own = [f"--run={run}"] if run else []
    images, picture = ROOT / "examples/fish", tmp_path / "out.png"
    steps = [] if run else ["--num_inner_steps=20"]
    few = [*own, *steps, "--num_samples=8"]
    arrays = tmp_path / ("out.npz" if run else "OUT.NPZ")
    places = [f"--images={images}", f"--out={picture}", f"--npz={arrays}"]
    result = _run("generate", *few, *places)
    assert result.returncode == 0, result.stderr
    age = figr_tf.load(run or "omniglot-32").age
    assert f"8 samples from 4 images, {age}" in result.stdout
    with np.load(arrays) as drawn:
        assert drawn["images"].min() < 64
    assert picture.exists()


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
    result = _run("train", *small_data.TRAIN, f"--runs_dir={tmp_path}", "--dry_run")
    assert result.returncode == 0
    assert "lean h=2, 16×16×1; n=3, K=2, 30 meta-steps" in result.stdout
    pair = build_networks(NetworkSpec("lean", 16, 1, 2, 8, blocks_per_stage=0), seed=0)
    generator, discriminator = (network.count_params() for network in pair)
    listed = f"weights: generator {generator:,}, discriminator {discriminator:,}; "
    assert listed in result.stdout
    assert " per meta-step, measured over " in result.stdout
    assert " for all 30, " in result.stdout
    assert list(tmp_path.iterdir()) == []


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
    result = _run("train", *small_data.TRAIN, "--runs_dir=/proc/self/runs")
    assert result.returncode == 1
    assert result.stderr.startswith("error: /proc/self/runs")
    assert len(result.stderr.splitlines()) == 1
