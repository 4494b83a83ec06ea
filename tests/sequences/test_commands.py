"""The commands on tiny glyphs, in this process; and what they refuse."""

import json

import numpy as np
import pytest
from PIL import Image

from figr_tf import evaluate_sequences, models, train_sequences
from figr_tf.core.errors import UserError
from figr_tf.data import loaders
from figr_tf.sequences import system
from figr_tf.sequences.model import SequenceModel
from figr_tf.sequences.settings import SequenceSettings
from tests.commands import run_here

TRAIN = [
    "--image_size=4",
    "--width=8",
    "--num_blocks=1",
    "--num_meta_steps=40",
    "--log_every=10",
    "--meta_learning_rate=1e-2",
]


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Fewer glyphs, and no XLA, which takes seconds to compile."""
    patch = pytest.MonkeyPatch()
    patch.setattr(loaders, "_GLYPH_CLASSES", 10)
    patch.setattr(SequenceSettings, "is_compiled", lambda settings, device: False)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One that takes steps, and the recurrent baseline."""
    folder = tmp_path_factory.mktemp("runs")
    for network in ("mlp", "recurrent"):
        own = ["--eval_every=40"] if network == "mlp" else ["--eval_every=80"]
        run_here(train_sequences, *TRAIN, *own, f"--network={network}", f"--run={folder / network}")
    return folder


def test_training_leaves_a_run_that_knows_more_than_a_coin_and_a_picture(runs):
    lines = [json.loads(line) for line in (runs / "mlp/metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["nats"] for line in lines if "nats" in line]).all()
    assert 0 < lines[-1]["held_out_nats"] < 0.9 * np.log(2)
    with Image.open(runs / "mlp/grids/step-000000040.png") as picture:
        assert picture.size == (8 * 12, 3 * 12)


def test_an_evaluation_has_a_row_for_each_run_and_one_for_the_pixels_by_themselves(
    runs, tmp_path, capsys
):
    json_file, picture = tmp_path / "out.json", tmp_path / "out.png"
    outputs = [f"--json={json_file}", f"--picture={picture}"]
    run_here(evaluate_sequences, f"--run={runs / 'mlp'},{runs / 'recurrent'}", *outputs)
    assert "20 held-out images of glyphs (every tenth image)" in capsys.readouterr().out
    rows = json.loads(json_file.read_text())["rows"]
    assert list(rows) == [
        "mlp (40 meta-steps), mlp, reptile",
        "recurrent (40 meta-steps), recurrent",
        "each pixel by itself",
    ]
    model = SequenceModel(runs / "mlp")
    sequences = system.load(model.settings.data)
    read = model.read(sequences.held_out)
    assert rows["mlp (40 meta-steps), mlp, reptile"]["mean"] == pytest.approx(
        np.mean(read.nats), abs=1e-6
    )
    frequency = (sequences.training.sum(0) + 1) / (len(sequences.training) + 2)
    chance = np.where(sequences.held_out, frequency, 1 - frequency)
    assert rows["each pixel by itself"]["mean"] == pytest.approx(-np.log(chance).mean())
    with Image.open(picture) as shown:
        assert shown.width > 2 * 8 * 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--width=7"], "width must be even"),
        (["--inner_learning_rate=0"], "above 0"),
        (["--dataset=folder"], "needs --data_dir"),
    ],
)
def test_trainings_that_cannot_be_are_refused_before_a_folder_is_made(tmp_path, arguments, said):
    with pytest.raises(UserError, match=said):
        run_here(train_sequences, *TRAIN, f"--run={tmp_path / 'run'}", *arguments)
    assert not (tmp_path / "run").exists()


def test_runs_of_other_systems_are_refused_by_name_and_so_is_this_one_elsewhere(runs, run_folder):
    with pytest.raises(UserError, match="is a run of 'gan'; a run of 'sequences' is needed"):
        run_here(evaluate_sequences, f"--run={run_folder}")
    with pytest.raises(UserError, match="is a run of 'sequences', which draws no images"):
        models.load(runs / "mlp")
    with pytest.raises(UserError, match=r"network.network=mlp.*network.network=gated"):
        run_here(train_sequences, *TRAIN, f"--run={runs / 'mlp'}")
    with pytest.raises(UserError, match=r"ends in \.png"):
        run_here(evaluate_sequences, f"--run={runs / 'mlp'}", "--picture=out.txt")
