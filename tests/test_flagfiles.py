"""The flagfiles: those of the paper say what its Table 1 says."""

import dataclasses

import pytest
from absl.testing import flagsaver

from figr_tf import models, train
from figr_tf.core import runs
from figr_tf.data import datasets
from figr_tf.gan.settings import Settings
from tests.conftest import ROOT


def _settings(*arguments: str):
    """What the training command makes of these arguments; its flags are afterwards as before."""
    flag_values = train.flags.FLAGS
    saved = flagsaver.save_flag_values(flag_values)
    try:
        flag_values(["train", *arguments])
        return train._settings()
    finally:
        flagsaver.restore_flag_values(saved, flag_values)


def _settings_of_file(name: str):
    return _settings(f"--flagfile={ROOT / name}")


@pytest.mark.parametrize(("name", "num_shots"), [("mnist", 4), ("omniglot", 4), ("figr8", 8)])
def test_paper_flagfiles_hold_table_1(name, num_shots):
    settings = _settings_of_file(f"{name}.flags")
    assert settings.data.dataset == name
    assert settings.data.split == "paper"
    assert settings.inner.learning_rate == 1e-4
    assert (settings.inner.loss, settings.inner.gradient_penalty_weight) == ("wasserstein", 10.0)
    assert settings.meta_learning_rate == 1e-5
    assert (settings.num_shots, settings.num_inner_steps) == (num_shots, 10)
    assert (settings.network.image_size, settings.network.hidden) == (32, 64)
    assert (settings.network.architecture, settings.inner.gradient_penalty_norm) == (
        "resnet",
        "image",
    )
    assert (settings.inner.gradient_penalty_every, settings.latent_pool) == (1, 0)
    assert settings.num_meta_steps == {"mnist": 50_000, "omniglot": 250_000, "figr8": 250_000}[name]
    assert settings.eval_every == 10_000


def test_the_best_flags_are_what_the_shipped_pair_was_trained_with():
    trained_with = runs.RunFolder(models.find("omniglot-32")).read_settings(Settings)
    assert _settings_of_file("flags/omniglot-best.flags") == trained_with


def _scored_before_penalties_were_left_out(best):
    """The recipe as it was when the scores in other flagfiles were measured."""
    inner = dataclasses.replace(best.inner, gradient_penalty_every=1)
    return dataclasses.replace(best, inner=inner, latent_pool=0, num_test_inner_steps=200)


def test_the_flags_for_icons_are_the_best_recipe_with_eight_jittered_drawings():
    best, icons = (_settings_of_file(f"flags/{n}.flags") for n in ("omniglot-best", "icons"))
    assert icons.data == datasets.DataSettings(dataset="icons")
    same = dataclasses.replace(
        _scored_before_penalties_were_left_out(best),
        data=icons.data,
        num_shots=8,
        task_pool=16,
        augment="jitter",
        redraw_sha256=icons.redraw_sha256,
        **dict.fromkeys(("num_meta_steps", "eval_every"), 2000),
    )
    assert same == icons


def test_the_flags_for_own_folders_are_the_best_recipe_with_a_smaller_pool():
    best, folder = (
        _settings_of_file("flags/omniglot-best.flags"),
        _settings(f"--flagfile={ROOT / 'flags/folder.flags'}", "--data_dir=my_sketches"),
    )
    assert dataclasses.replace(best, data=folder.data, task_pool=8) == folder
    assert (folder.data.dataset, folder.data.split) == ("folder", None)


def test_a_support_in_colour_is_not_redrawn_in_grey():
    with pytest.raises(
        ValueError, match=r"draws in grey; .* augment=jitter\. Received: channels=3"
    ):
        _settings("--channels=3", "--augment=redraw")


def test_a_support_of_other_sizes_is_not_redrawn_at_32_pixels():
    with pytest.raises(
        ValueError, match=r"draws 32×32 pixels; .* augment=jitter\..* image_size=64"
    ):
        _settings("--image_size=64", "--augment=redraw")


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("mnist-best", {"class_rotations": False}),
        ("omniglot-64", {"num_shots": 8, "augment": "jitter"}),
        ("glyphs", {"num_inner_steps": 10}),
        ("emoji", {"task_pool": 6, "augment": "jitter", "class_rotations": False}),
    ],
)
def test_the_flags_for_other_data_are_the_best_recipe_but_for_what_their_header_says(name, changed):
    best, other = (_settings_of_file(f"flags/{n}.flags") for n in ("omniglot-best", name))
    best = _scored_before_penalties_were_left_out(best)
    same = dataclasses.replace(
        best,
        data=other.data,
        network=dataclasses.replace(
            best.network, image_size=other.data.image_size, channels=other.data.channels
        ),
        redraw_sha256=other.redraw_sha256,
        # A third of the length, for a slower machine.
        **dict.fromkeys(("num_meta_steps", "eval_every"), 400),
        log_every=other.log_every,
        checkpoint_every=other.checkpoint_every,
        **changed,
    )
    assert same == other


def test_make_train_needs_no_download():
    assert _settings_of_file("flags/glyphs.flags").data.dataset == "glyphs"


def test_bce_has_no_penalty_unless_asked_for():
    assert _settings("--loss=bce").inner.gradient_penalty_weight == 0
    assert _settings("--loss=bce", "--gradient_penalty_weight=3").inner.gradient_penalty_weight == 3
