"""The commands on tiny glyphs, in this process but for one; and what they refuse."""

import dataclasses
import json
import os
import signal
import subprocess

import numpy as np
import pytest
from PIL import Image

from figr_tf import classify, evaluate_classifier, models, train_classifier
from figr_tf.classifier import evaluation, reporting
from figr_tf.classifier.model import ClassifierModel
from figr_tf.core import runs, trained
from figr_tf.core.errors import UserError
from figr_tf.core.interruption import Interrupted
from figr_tf.data import glyphs
from figr_tf.data.settings import DataSettings
from tests import commands
from tests.commands import run_here

pytestmark = pytest.mark.whole

TRAIN = [
    "--dataset=glyphs",
    "--image_size=14",
    "--filters=4",
    "--num_classes=3",
    "--num_shots=2",
    "--train_shots=4",
    "--inner_batch_size=4",
    "--num_inner_steps=2",
    "--meta_batch_size=2",
    "--eval_inner_steps=3",
    "--num_meta_steps=20",
    "--log_every=10",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """As a user types it, in a process of its own."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = commands.run("figr_tf.train_classifier", *TRAIN, f"--run={folder}")
    assert result.returncode == 0, result.stderr
    assert "held-out accuracy" in result.stdout
    return folder


def test_training_leaves_a_run_with_finite_metrics_a_picture_and_its_flags(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()
    assert lines[-1].keys() >= {"held_out_accuracy", "held_out_accuracy_transductive"}
    assert (run / "grids/step-000000020.png").exists()
    assert "--num_classes=3" in (run / "flags.txt").read_text()


def test_tasks_side_by_side_leave_the_same_bits_as_one_after_another(run, tmp_path):
    # `run` has as many threads as there are cores, up to the two tasks of a meta-step.
    alone = tmp_path / "alone"
    threads = commands.ENVIRONMENT | {"TF_NUM_INTEROP_THREADS": "1"}
    commands.run("figr_tf.train_classifier", *TRAIN, f"--run={alone}", environment=threads)
    assert ClassifierModel(alone).weights_sha256 == ClassifierModel(run).weights_sha256


@pytest.mark.slow
def test_a_dry_run_tells_the_cost_and_leaves_nothing(tmp_path, capsys):
    run_here(train_classifier, *TRAIN, f"--runs_dir={tmp_path}", "--dry_run")
    output = capsys.readouterr().out
    assert "weights: network " in output
    assert " per meta-step, measured over " in output
    assert list(tmp_path.iterdir()) == []


def _evaluate(run, *arguments):
    run_here(evaluate_classifier, f"--run={run}", "--num_tasks=6", "--shots=1,2", *arguments)


def test_an_evaluation_has_rows_with_intervals_and_goes_on_where_it_was(run, tmp_path, capsys):
    out = tmp_path / "out.json"
    _evaluate(run, f"--json={out}")
    table = capsys.readouterr().out
    assert "| | 3-way 1-shot | 3-way 2-shot |" in table
    numbers = json.loads(out.read_text())
    names = list(numbers["rows"])
    assert names[:2] == [f"{run} (20 meta-steps), {kind}" for kind in ("plain", "transductive")]
    assert {"prototypes, pixels", "matching, evaluation's embedding"} <= set(names)
    for cells in numbers["rows"].values():
        for cell in cells.values():
            assert 0 <= cell["mean"] <= 100
            assert cell["margin"] >= 0

    records = sorted((run / "evaluation").glob("classifier-*.jsonl"))
    of_model = {name: numbers["rows"][name] for name in names[:2]}
    whole = [path.read_text() for path in records]
    first = whole[0].splitlines(keepends=True)
    for damaged in (
        whole[0][: 3 * len(whole[0]) // 4],  # As a kill in the middle of a line leaves it.
        "".join([*first[:2], "7\n", *first[3:]]),
    ):
        records[0].write_text(damaged)
        _evaluate(run, f"--json={out}", "--nobaselines")
        rows = json.loads(out.read_text())["rows"]
        assert {name: rows[name] for name in of_model} == of_model
        assert [path.read_text() for path in records] == whole


def test_several_runs_stand_in_one_table_with_their_mean(run, tmp_path, capsys):
    again = tmp_path / "again"
    run_here(train_classifier, *TRAIN, "--seed=1", f"--run={again}")
    _evaluate(f"{run},{again}", "--notransductive", "--nobaselines")
    table = capsys.readouterr().out
    assert "| mean of 2 runs ± half their range, plain |" in table
    assert ", transductive |" not in table
    assert "pixels" not in table


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("--foml", "foml: False and True"),
        ("--num_meta_steps=10", "meta_step: 20 and 10"),
        ("--eval_inner_steps=7", "eval_inner_steps: 3 and 7"),
    ],
)
def test_runs_that_differ_in_more_than_their_seed_are_not_averaged(run, tmp_path, change, said):
    other = tmp_path / "other"
    run_here(train_classifier, *TRAIN, change, f"--run={other}")
    with pytest.raises(UserError, match=said):
        _evaluate(f"{run},{other}", "--nobaselines")


def test_two_models_of_one_name_are_not_taken_for_one(run, tmp_path):
    for parent in "ab":
        settings = ClassifierModel(run)
        place = tmp_path / parent / "model"
        trained.package(runs.RunFolder(run), place, settings.meta_weights(), settings.carried)
    with pytest.raises(UserError, match="model, model: two models have the same name"):
        _evaluate(f"{tmp_path / 'a/model'},{tmp_path / 'b/model'}")


def test_a_second_evaluation_of_the_same_waits_for_the_first(tmp_path):
    first = evaluation._Record(tmp_path, {"seed": 0})
    evaluation._Record(tmp_path, {"seed": 1}).close()
    with pytest.raises(UserError, match="another process is evaluating the same"):
        evaluation._Record(tmp_path, {"seed": 0})
    first.close()
    evaluation._Record(tmp_path, {"seed": 0}).close()


def test_a_signal_ends_an_evaluation_after_the_task_at_hand(run, dataset, monkeypatch):
    model = ClassifierModel(run)
    drawings = evaluation.Drawings(dataset.data.images, np.arange(10) * 6, np.full(10, 6))
    plan = evaluation.Plan(3, 2, 5_000, seed=7)
    judge = evaluation._num_right

    def signalled(*task):
        if task[-1] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return judge(*task)

    monkeypatch.setattr(evaluation, "_num_right", signalled)
    with pytest.raises(Interrupted, match="task 3 of 5000"):
        evaluation.evaluate(model, drawings, plan, run)


@pytest.mark.slow
def test_joint_training_stands_beside_a_run_and_is_refused_if_it_is_none(run, tmp_path, capsys):
    joint = tmp_path / "joint"
    run_here(train_classifier, *TRAIN, "--num_inner_steps=1", f"--run={joint}")
    _evaluate(run, f"--joint={joint}", "--nobaselines", "--notransductive")
    table = capsys.readouterr().out
    assert f"| joint training: {joint} (20 meta-steps), plain |" in table
    assert "mean of" not in table
    with pytest.raises(UserError, match=r"trained with 2 inner steps.*--num_inner_steps=1"):
        _evaluate(run, f"--joint={run}")


def _classify(run, three_classes, names):
    listed = classify.spread(["--images", *(str(three_classes / name) for name in names)])
    run_here(classify, f"--run={run}", *listed, f"--query={three_classes / 'b.png'}")


def test_a_query_is_told_the_classes_by_their_probabilities(run, three_classes, capsys):
    for names in ("abc", "ab"):
        _classify(run, three_classes, names)
        line = capsys.readouterr().out.splitlines()[-1]
        shares = [float(part.split()[-2]) for part in line.split(": ")[1].split(", ")]
        assert len(shares) == len(names)
        assert sum(shares) == pytest.approx(100, abs=0.3)
        assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("abca", r"2 to 3 classes.*Received: 4"),
        ("a", r"2 to 3 classes.*Received: 1"),
        ("aa", "a class is given twice"),
        (["a", "nowhere"], "nowhere: no such folder or image"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(run, three_classes, names, said):
    with pytest.raises(UserError, match=said):
        _classify(run, three_classes, names)


def test_images_of_another_size_are_refused_by_the_model(run):
    support = np.zeros([3, 1, 28, 28, 1], np.uint8)
    with pytest.raises(ValueError, match=r"14, 14, 1.*Received"):
        ClassifierModel(run).classify(support, support[0])


def test_an_adaptation_that_diverged_is_no_answer(run):
    model = ClassifierModel(run)
    model.start = model.start._replace(weights=model.start.weights * np.nan)
    images = np.zeros([3, 1, 14, 14, 1], np.uint8)
    with pytest.raises(UserError, match="the adaptation diverged"):
        model.classify(images, images[0])


def test_data_are_looked_for_where_they_were_in_training(run, tmp_path):
    for c in range(12):
        folder = tmp_path / "data" / f"class{c}"
        folder.mkdir(parents=True)
        for i, image in enumerate(glyphs.glyph_images(c, 8, 14, seed=0)):
            Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    settings = ClassifierModel(run).settings
    data = DataSettings("folder", str(tmp_path / "data"), 14, cache_dir=str(tmp_path / "cache"))
    request = reporting.ReportRequest([1], 2, 0, False, False, None, str(tmp_path / "cache"))
    loaded = reporting._load(dataclasses.replace(settings, data=data), request)
    assert len(loaded.data.counts) == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shots=1,30"], "need 31 images"),
        (["--shots=none"], "whole numbers"),
        (["--shots=0,1"], "whole numbers, 1 or more"),
        (["--shots="], "--shots=: give whole numbers, 1 or more"),
        (["--json=no-folder/out.json"], "its folder does not exist"),
        (["--data_dir=nowhere"], "glyphs is drawn and reads no files"),
    ],
)
def test_evaluations_that_cannot_be_are_refused(run, arguments, said):
    with pytest.raises(UserError, match=said):
        _evaluate(run, *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--num_classes=500"], "cannot be drawn from"),
        (["--train_shots=21"], "classes have 21 images or more"),
        (["--tail_shots=1"], "foml"),
        (["--meta_batch_size=600"], "negative"),
        (["--held_out_classes=glyph001,glyph002"], "from 2 held-out classes"),
    ],
)
def test_trainings_that_cannot_be_are_refused_before_a_folder_is_made(tmp_path, arguments, said):
    with pytest.raises(UserError, match=said):
        run_here(train_classifier, *TRAIN, f"--run={tmp_path / 'run'}", *arguments)
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_system_is_refused_by_name(run, run_folder):
    with pytest.raises(UserError, match="is a run of 'gan'; a run of 'classifier' is needed"):
        ClassifierModel(run_folder)
    with pytest.raises(UserError, match=r"is a run of 'classifier', which.*figr_tf.classify"):
        models.load(run)
    with pytest.raises(UserError, match="system"):
        run_here(train_classifier, *TRAIN, f"--run={run_folder}")


def test_a_damaged_run_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", run, copy], check=True)
    for path in (copy / "checkpoints").glob("*.data*"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="none of its"):
        ClassifierModel(copy)
    (copy / "settings.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        ClassifierModel(copy)
