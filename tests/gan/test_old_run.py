"""A run of the code of 2026-11-26, before the core was made for several systems, goes on today.

old_run/ is its folder after four meta-steps, without pictures and metrics (glyphs, 16×16, h = 1,
K = 2). old_run/moves.json says how far that code moved each kernel in the next four: Σ|W₈ − W₄|, by
group.
"""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from figr_tf import models
from tests import commands

pytestmark = pytest.mark.whole

OLD = pathlib.Path(__file__).with_name("old_run")


def kernels(run: pathlib.Path, meta_step: int) -> dict[str, list[np.ndarray]]:
    """The weights of convolutions in a checkpoint, by group."""
    reader = tf.train.load_checkpoint(str(run / f"checkpoints/ckpt-{meta_step:09d}"))
    shapes = reader.get_variable_to_shape_map()
    return {
        group: [
            reader.get_tensor(name)
            for name in sorted(shapes)
            if name.startswith(f"{group}/") and len(shapes[name]) == 4
        ]
        for group in ("generator", "discriminator")
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(OLD, folder)
    return folder


def test_it_still_draws(run):
    model = models.load(str(run))
    assert model.meta_step == 4
    support = np.full([2, 16, 16, 1], 255, np.uint8)
    assert model.generate(support, num_samples=3, num_inner_steps=1).shape == (3, 16, 16, 1)


def test_its_next_meta_steps_are_those_that_it_would_have_taken_then(run):
    result = commands.run(
        "figr_tf.train",
        *("--dataset=glyphs", "--image_size=16", "--hidden=1", "--latent_dim=8"),
        *("--num_inner_steps=2", "--inner_learning_rate=1e-3", "--meta_learning_rate=1e-3"),
        *("--num_meta_steps=8", "--log_every=4", "--checkpoint_every=4", f"--run={run}"),
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    assert "continuing at meta-step 4" in result.stdout
    moves = json.loads((OLD / "moves.json").read_text())
    before, after = kernels(OLD, 4), kernels(run, 8)
    for group, expected in moves.items():
        pairs = zip(before[group], after[group], strict=True)
        moved = [np.abs(new - old).sum(dtype=np.float64) for old, new in pairs]
        # Adam's moments count as well: without them the first step would be several times as long.
        np.testing.assert_allclose(moved, expected, rtol=1e-2)
