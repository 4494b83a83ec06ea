"""The flagfiles say what was published (arXiv:1803.02999, and openai/supervised-reptile)."""

import json

import numpy as np
import pytest
from PIL import Image

from figr_tf import evaluate_classifier, train_classifier
from tests.commands import run_here
from tests.conftest import ROOT


def settings_of(name):
    """What the training command makes of a flagfile."""
    known = train_classifier.flags.FLAGS
    known.unparse_flags()
    for flag in known:
        known[flag].unparse()
    known(["train_classifier", f"--flagfile={ROOT / 'flags' / name}.flags"])
    return train_classifier._settings()


@pytest.mark.parametrize(
    ("name", "classes", "steps", "batch", "rate", "shots", "length", "eval_batch"),
    [
        ("omniglot-5way", 5, 5, 10, 1e-3, 10, 100_000, 5),
        ("omniglot-20way", 20, 10, 20, 5e-4, 10, 200_000, 10),
        ("mini-imagenet-5way", 5, 8, 10, 1e-3, 15, 100_000, 5),
    ],
)
def test_published_settings_are_in_the_flagfiles(
    name, classes, steps, batch, rate, shots, length, eval_batch
):
    settings = settings_of(name)
    inner = settings.inner
    assert settings.network.num_classes == classes
    assert (inner.num_steps, inner.batch_size, inner.learning_rate) == (steps, batch, rate)
    assert (settings.train_shots, settings.num_meta_steps) == (shots, length)
    assert (settings.eval_batch_size, settings.eval_inner_steps) == (eval_batch, 50)
    assert (settings.meta_learning_rate, settings.meta_batch_size) == (1, 5)
    assert settings.anneal_meta_learning_rate
    assert (inner.optimizer, settings.foml) == ("adam", False)


def test_omniglot_is_split_and_turned_as_published_and_mini_imagenet_is_not_turned():
    omniglot, imagenet = settings_of("omniglot-5way"), settings_of("mini-imagenet-5way")
    assert (omniglot.data.split, omniglot.class_rotations) == ("random-1200", True)
    assert (omniglot.network.architecture, omniglot.network.filters) == ("strided", 64)
    assert imagenet.class_rotations is False
    network = imagenet.network
    assert (network.architecture, network.filters, network.image_size) == ("pooled", 32, 84)


@pytest.mark.whole
def test_mini_imagenets_flagfile_trains_on_photographs_of_any_shape(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for number in range(10):
        folder = tmp_path / "images" / f"n{number:08d}"
        folder.mkdir(parents=True)
        for i in range(3):
            # A colour of its own for each class, so that a class can be told from its pixels.
            pixels = rng.integers(0, 60, [50, 70 + i, 3]) + 20 * number
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.JPEG")
    held_out = ",".join(f"n{number:08d}" for number in range(0, 10, 2))
    run, out = tmp_path / "run", tmp_path / "out.json"
    places = [f"--data_dir={tmp_path / 'images'}", f"--cache_dir={tmp_path / 'cache'}"]
    tiny = ["--filters=2", "--num_meta_steps=2", "--num_shots=1", "--train_shots=2"]
    run_here(
        train_classifier,
        f"--flagfile={ROOT / 'flags/mini-imagenet-5way.flags'}",
        *(*places, *tiny, f"--held_out_classes={held_out}", f"--run={run}"),
    )
    assert "split held-out-classes" in capsys.readouterr().out
    run_here(
        evaluate_classifier,
        *(*places, f"--run={run}", "--shots=1", "--num_tasks=20", f"--json={out}"),
    )
    rows = json.loads(out.read_text())["rows"]
    assert rows["prototypes, pixels"]["5-way 1-shot"]["mean"] > 90
    # Its embedding is of grey drawings.
    assert not [name for name in rows if "embedding" in name]
