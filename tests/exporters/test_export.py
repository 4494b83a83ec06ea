"""Version folders, what lies in them, and what becomes of an export that is killed or refused."""

import dataclasses
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import filelock
import pytest
import tensorflow as tf

from exporters import compact, saved_model, signatures, verification, warmup
from exporters.limits import Defaults
from figr_tf import models
from figr_tf.core.errors import UserError
from figr_tf.gan.generation import FewShotModel
from figr_tf.gan.networks import build_networks
from tests import commands
from tests.conftest import ROOT
from tests.exporters.conftest import LIMITS, REQUEST, Server, report_of, serve


@pytest.fixture
def quick(monkeypatch, run_folder):
    """Exports in no time: with a file in the place of the model."""

    def write(folder: pathlib.Path, parts, request):
        folder.mkdir()
        (folder / "saved_model.pb").write_text("weights")
        return {"signatures": {}}, 0.0

    monkeypatch.setattr(saved_model, "_write", write)

    def export(export_dir, version=None):
        return saved_model.export(REQUEST._replace(run=run_folder), export_dir, version)

    return export


def _versions(export_dir: pathlib.Path) -> set[str]:
    return {path.name for path in export_dir.iterdir() if not path.name.startswith(".")}


def test_versions_count_up_and_a_version_can_be_chosen(quick, tmp_path):
    assert quick(tmp_path).path == tmp_path / "1"
    assert quick(tmp_path, 7).path == tmp_path / "7"
    (tmp_path / "notes").mkdir()
    assert quick(tmp_path).path == tmp_path / "8"
    assert _versions(tmp_path) == {"1", "7", "8", "notes"}


def test_a_version_is_never_overwritten(quick, tmp_path):
    written = quick(tmp_path, 3).path
    (written / "saved_model.pb").write_text("served by somebody")
    with pytest.raises(UserError, match=r"3: exists already. Choose another --version"):
        quick(tmp_path, 3)
    assert (written / "saved_model.pb").read_text() == "served by somebody"
    assert _versions(tmp_path) == {"3"}


def test_leftovers_are_removed_and_versions_kept(quick, tmp_path):
    (tmp_path / "unfinished-1" / "variables").mkdir(parents=True)
    quick(tmp_path)
    assert _versions(tmp_path) == {"1"}


def test_two_exports_into_one_folder_wait_for_each_other(quick, tmp_path):
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(UserError, match="another process is exporting there"),
    ):
        quick(tmp_path)
    assert quick(tmp_path).path == tmp_path / "1"


def test_a_folder_can_be_read_by_a_server_of_another_user(quick, tmp_path):
    mask = os.umask(0o022)
    try:
        assert quick(tmp_path / "models").path.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(mask)


def test_a_failed_export_leaves_nothing(monkeypatch, run_folder, tmp_path):
    def fail(folder, *_):
        folder.mkdir()
        (folder / "saved_model.pb").touch()
        raise UserError("the reloaded export's generate differs")

    monkeypatch.setattr(saved_model, "_write", fail)
    with pytest.raises(UserError, match="differs"):
        saved_model.export(REQUEST._replace(run=run_folder), tmp_path, None)
    assert _versions(tmp_path) == set()


def _full_for_tensorflow(_, folder, **__):
    os.mkdir(folder)
    sentence = "out/variables/part-0.tempstate1; No space left on device [Op:SaveV2]"
    raise tf.errors.ResourceExhaustedError(None, None, sentence)


def _full_for_python(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("save", [_full_for_tensorflow, lambda _, folder, **__: os.mkdir(folder)])
def test_a_full_disk_is_one_line_that_names_the_folder(monkeypatch, tmp_path, save):
    """TensorFlow's own writing or, after it, ours."""
    monkeypatch.setattr(tf.saved_model, "save", save)
    monkeypatch.setattr(compact, "compact", _full_for_python)
    request = REQUEST._replace(run=models.REDRAWING, signature_names=("generate_tensor",))
    with pytest.raises(UserError) as caught:
        saved_model.export(request, tmp_path, None)
    assert str(caught.value) == f"{tmp_path}: cannot be written (No space left on device)."
    assert _versions(tmp_path) == set()


def test_defaults_above_their_limits_are_refused(run_folder, tmp_path):
    with pytest.raises(
        UserError, match=r"default num_inner_steps=50 is above --max_num_inner_steps=20"
    ):
        saved_model.export(REQUEST._replace(run=run_folder, num_inner_steps=50), tmp_path, None)


def test_an_export_that_allows_one_inner_step_is_warmed_up_and_compared_with_one(
    run_folder, tmp_path, monkeypatch
):
    traced, inner_steps = [], FewShotModel._inner_steps

    def counted(self, *inputs):
        traced.append(1)
        return inner_steps(self, *inputs)

    monkeypatch.setattr(FewShotModel, "_inner_steps", counted)
    limits = dataclasses.replace(LIMITS, max_num_inner_steps=1)
    request = REQUEST._replace(
        run=run_folder, limits=limits, signature_names=("generate_tensor",), num_inner_steps=1
    )
    assert saved_model.export(request, tmp_path, None).difference <= 1 / 255
    assert len(traced) == 1  # It takes longest, and saving would trace it once more.


def test_a_choice_of_signatures_is_refused_where_there_is_none(run_folder, tmp_path):
    request = REQUEST._replace(run=run_folder, kind="tasks", signature_names=("generate",))
    with pytest.raises(UserError, match="--signatures=generate: an export of --kind=tasks has"):
        saved_model.export(request, tmp_path, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [{"max_png_bytes": 100}, {"max_image_side": 8}])
def test_limits_that_refuse_the_models_own_pictures_are_refused(run_folder, tmp_path, changed):
    limits = dataclasses.replace(LIMITS, **changed)
    request = REQUEST._replace(run=run_folder, limits=limits, signature_names=("generate",))
    with pytest.raises(UserError, match="refuse a picture of the model's own size, of 16 pixels"):
        saved_model.export(request, tmp_path / "models", None)
    assert not (tmp_path / "models").exists()


def test_a_reloaded_export_draws_what_the_model_draws_but_for_one_rounding_of_weights(
    exported, exported_tasks
):
    """To the bit, since a graph that Grappler has optimised otherwise rounds otherwise, and the
    inner loop magnifies it: here to 9e-7, in a ResNet of h = 4 to a twentieth. The answer of
    `adapt` is a difference and rounds once.
    """
    assert exported_tasks.difference == 0
    assert exported.difference < 1e-6


@pytest.mark.parametrize("wrong", ["rate", pytest.param("weights", marks=pytest.mark.slow)])
def test_an_export_that_does_not_draw_what_adapt_draws_is_refused(exported, model, wrong):
    networks, settings = model.networks, model.settings
    if wrong == "weights":
        networks = build_networks(settings.network, seed=1)
    else:
        inner = dataclasses.replace(
            settings.inner, learning_rate=0.8 * settings.inner.learning_rate
        )
        settings = dataclasses.replace(settings, inner=inner)
    other = signatures.make_parts(FewShotModel(networks, settings, 12), LIMITS, Defaults(2, 4))
    with pytest.raises(UserError, match=r"differs from the model by 0\.\d+\. Nothing written"):
        verification.largest_difference(exported.path, other, [])


def test_warm_up_requests_cover_every_signature_and_filter_and_succeed(exported, server):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = exported.path / "assets.extra" / warmup.FILE_NAME
    asked = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answer = server.predict(request.model_spec.signature_name, **inputs)
        assert set(request.output_filter) <= answer.keys()
        asked.append((request.model_spec.signature_name, *sorted(request.output_filter)))
    assert sorted(asked) == [
        ("adapt", "fingerprint", "generator_delta"),
        ("generate", "png_bytes"),
        ("generate_tensor", "images"),
        ("sample", "images"),
        ("sample", "png_bytes"),
        ("serving_default", "png_bytes"),
    ]


def test_the_card_names_training_limits_and_licence(exported):
    card = (exported.path / "assets.extra/MODEL_CARD.md").read_text()
    for text in (
        "glyphs, 4 classes",
        "12 meta-steps",
        "lean, h = 2, 16×16×1",
        "Not evaluated",
        "nobody else's data",
    ):
        assert text in card


def test_a_killed_export_leaves_nothing_to_load_and_the_next_one_works(run_folder, tmp_path):
    report = tmp_path / "evaluation.json"
    row = {
        "values": dict.fromkeys(
            ("skill embedding", "skill blur", "rec20 %", "1-shot %", "diversity"), 0.5
        )
    }
    row["values"] |= dict.fromkeys(("copy AUC", "1-NN %", "CAS100 %"), 0.25)
    rows = {"model, K = 2": row | {"intervals": {"skill embedding": [0.25, 0.75]}}}
    counts = {"classes": ["a", "b"], "num_shots": 4, "num_samples": 64, "seeds": [0, 1, 2]}
    report.write_text(json.dumps(report_of(run_folder) | {"rows": rows} | counts))
    models = tmp_path / "models"
    arguments = [
        f"--run={run_folder}",
        f"--export_dir={models}",
        f"--evaluation={report}",
        "--signatures=sample",
    ]

    process = commands.Process("exporters.export_saved_model", arguments)
    deadline = time.monotonic() + 120
    while (
        not list(models.glob("unfinished-1/variables"))
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert _versions(models) == {"unfinished-1"}

    # In the plainest of locales: the card is UTF-8 all the same.
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "exporters.export_saved_model", *arguments]
    ended = subprocess.run(
        command, cwd=ROOT, env=os.environ | plain, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert _versions(models) == {"1"}
    assert f"{models / '1'}: sample; saved_model.pb" in ended.stdout
    card = (models / "1/assets.extra/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| model, K = 2 | 0.50 [0.25, 0.75] |" in card
    assert isinstance(serve(saved_model.Export(models / "1", {}, 0.0)), Server)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run=/nonexistent", "--export_dir=x"], "/nonexistent: no such run folder"),
        (
            ["--run=x", "--export_dir=x", "--signatures=generate,paint"],
            "--signatures=generate,paint: choose among",
        ),
        (["--run=x", "--export_dir=x", "--max_num_samples=0"], "--max_num_samples=0"),
        (["--run=x", "--export_dir=x", "--version=0"], "--version=0"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message):
    ended = commands.run("exporters.export_saved_model", *arguments)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
