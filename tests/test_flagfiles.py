"""The flagfiles at the top of the repository say what Table 1 of the paper says."""

import pytest
from absl import flags
from absl.testing import flagsaver

from figr_tf import train
from tests.conftest import ROOT


@flagsaver.flagsaver
def _settings(name: str):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["train", f"--flagfile={ROOT / name}"])
    return train._settings()


@pytest.mark.parametrize(("name", "num_shots"), [("mnist", 4), ("omniglot", 4), ("figr8", 8)])
def test_paper_flagfiles_hold_table_1(name, num_shots):
    settings = _settings(f"{name}.flags")
    assert settings.data.dataset == name
    assert settings.data.split == "paper"
    assert settings.inner.learning_rate == 1e-4
    assert (settings.inner.loss, settings.inner.gradient_penalty_weight) == ("wasserstein", 10.0)
    assert settings.meta_learning_rate == 1e-5
    assert (settings.num_shots, settings.num_inner_steps) == (num_shots, 10)
    assert (settings.network.image_size, settings.network.hidden) == (32, 64)
    assert (settings.network.architecture, settings.inner.gradient_penalty_norm) == ("resnet", "image")
    assert settings.num_meta_steps == {"mnist": 50_000, "omniglot": 250_000, "figr8": 250_000}[name]
    assert settings.eval_every == 10_000


def test_quickstart_trains_on_embedded_data():
    assert _settings("quickstart.flags").data.dataset == "glyphs"


@flagsaver.flagsaver
def test_bce_has_no_penalty_unless_asked_for():
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["train", "--loss=bce"])
    assert train._settings().inner.gradient_penalty_weight == 0
    flags.FLAGS(["train", "--loss=bce", "--gradient_penalty_weight=3"])
    assert train._settings().inner.gradient_penalty_weight == 3
