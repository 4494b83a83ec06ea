"""Training on a text, judging it and sampling it, in this process; and what is refused."""

import json
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from figr_tf import evaluate_sequences, models, train_sequences
from figr_tf.core.errors import DataError, RunError, UserError
from figr_tf.sequences import evaluation, text
from figr_tf.sequences.model import SequenceModel
from figr_tf.sequences.settings import SequenceSettings
from tests.commands import run_here
from tests.sequences.conftest import SETTINGS, TEXT_SETTINGS

pytestmark = pytest.mark.whole

# What stands at the second place of a window follows from the first alone.
TEXT = "abcd" * 400
TRAIN = ["--length=8", "--width=8", "--num_blocks=1", "--num_meta_steps=60", "--log_every=20"]
TRAIN += ["--meta_learning_rate=3e-2", "--meta_average=0.9", "--inner_learning_rate=0.3"]


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Without XLA, which takes seconds to compile."""
    patch = pytest.MonkeyPatch()
    patch.setattr(SequenceSettings, "is_compiled", lambda settings, device: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text, a run on it, and the baseline's."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_text(TEXT)
    for name in ("mlp", "recurrent"):
        own = [f"--text={folder / 'a.txt'}", f"--network={name}", f"--run={folder / name}"]
        run_here(train_sequences, *TRAIN, *own)
    return folder


def _evaluate(folder, *arguments):
    run_here(evaluate_sequences, f"--run={folder / 'mlp'}", *arguments)


def test_a_table_of_a_text_is_in_nats_per_character_beside_each_characters_frequency(
    folder, tmp_path, capsys
):
    outputs = [f"--json={tmp_path / 'out.json'}", f"--picture={tmp_path / 'out.png'}"]
    run_here(evaluate_sequences, f"--run={folder / 'mlp'},{folder / 'recurrent'}", *outputs)
    said = capsys.readouterr().out
    assert "20 held-out windows of text (every tenth block of 8 characters)" in said
    assert "| | nats per character |" in said
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    means = {name.split(" (")[0]: row["mean"] for name, row in rows.items()}
    assert list(means) == ["mlp", "recurrent", "each character's own frequency"]
    # Four characters as frequent as each other.
    assert means["each character's own frequency"] == pytest.approx(np.log(4), abs=0.01)
    assert means["mlp"] < 0.9 * np.log(4)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 100


def test_samples_are_the_models_own_and_of_the_alphabet(folder, tmp_path):
    _evaluate(folder, f"--samples={tmp_path / 'out.txt'}", "--seed=3")
    parts = (tmp_path / "out.txt").read_text().split("=== ")[1:]
    assert len(parts) == 8
    assert parts[0].startswith("mlp (60 meta-steps), mlp, reptile, sample 1\n")
    loaded = text.load(text.TextSettings(str(folder / "a.txt"), 8))
    drawn = SequenceModel(folder / "mlp").draw(8, 3).targets
    assert [part.split("\n")[1] for part in parts] == loaded.strings(drawn)


def test_a_text_has_no_animation_and_stands_in_no_table_beside_other_sizes(folder):
    with pytest.raises(UserError, match="--gif: these are runs of a text"):
        _evaluate(folder, "--gif=out.gif")
    with pytest.raises(RunError, match="is a run of a text, so it draws nothing from a support"):
        models.load(folder / "mlp")
    several = [types.SimpleNamespace(settings=s) for s in (SETTINGS, TEXT_SETTINGS)]
    with pytest.raises(UserError, match="sequences of different sizes"):
        evaluation.load(several, None, None, None)


def test_a_run_goes_on_and_refuses_another_text(folder, tmp_path):
    run = [*TRAIN, "--network=mlp", f"--run={folder / 'mlp'}"]
    # Flags about images with their defaults, as RUN/flags.txt has them, are no contradiction.
    own = [f"--text={folder / 'a.txt'}", "--image_size=28", "--ink=dark"]
    run_here(train_sequences, *run, *own, "--num_meta_steps=61")
    assert SequenceModel(folder / "mlp").meta_step == 61
    (tmp_path / "other.txt").write_text(TEXT[::-1])
    other = f"--text={tmp_path / 'other.txt'}"
    with pytest.raises(RunError, match=r"mlp: was trained with data_sha256=.*another --run"):
        run_here(train_sequences, *run, other, "--num_meta_steps=70")
    with pytest.raises(RunError, match="data_sha256"):
        _evaluate(folder, other)


def test_a_text_that_moved_is_found_by_its_flag(folder, tmp_path, capsys):
    moved = tmp_path / "moved.txt"
    (folder / "a.txt").rename(moved)
    try:
        with pytest.raises(DataError, match=r"a\.txt: No such file.*--text"):
            _evaluate(folder)
        _evaluate(folder, f"--text={moved}")
        assert "nats per character" in capsys.readouterr().out
    finally:
        moved.rename(folder / "a.txt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text=a.txt", "--dataset=glyphs"], "--dataset is about images, beside --text"),
        (["--text=a.txt", "--data_dir=there"], "--data_dir is about images"),
        (["--text=a.txt", "--image_size=14"], "--image_size is about images"),
        (["--text=a.txt", "--split=random"], "--split is about images"),
        (["--length=50"], "--length is about a text"),
        (["--text=a.txt"], r"a\.txt: No such file"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_before_a_folder_is_made(
    tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        run_here(train_sequences, "--run=run", *arguments)
    assert not pathlib.Path("run").exists()
