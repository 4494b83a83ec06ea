"""What a run of the redrawing network is afterwards: loaded, packaged, altered, damaged."""

import dataclasses
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest

from figr_tf import models
from figr_tf.core import runs, trained
from figr_tf.core.errors import RunError
from figr_tf.data import glyphs
from figr_tf.evaluation import samplers
from figr_tf.warp.model import WarpModel
from tests.warp.conftest import weights_of

pytestmark = pytest.mark.whole


def test_a_saved_model_draws_seeded_samples_from_any_number_of_images(run):
    warp = models.load(run)
    for num_shots in (1, 3):
        support = glyphs.glyph_images(3, num_shots, 16, seed=1)
        first, again, other = (warp.generate(support, 5, seed) for seed in (1, 1, 2**40))
        assert (first.shape, first.dtype) == ((5, 16, 16, 1), np.uint8)
        np.testing.assert_array_equal(first, again)
        assert np.any(first != other)
    for wrong in ({"num_samples": 0}, {"seed": -1}, {"seed": 2**53}):
        with pytest.raises(ValueError, match="Received"):
            warp.generate(support, **wrong)
    with pytest.raises(ValueError, match="support_images must be uint8"):
        warp.generate(support.astype(np.float32))


@pytest.fixture
def packaged(run, tmp_path):
    """The packaged model of the run."""
    out = tmp_path / "packaged"
    trained.package(runs.RunFolder(run), out, WarpModel(run).meta_weights())
    return out


def test_a_packaged_model_is_the_run_it_was_made_from(run, packaged):
    model = models.load(packaged)
    assert (model.meta_step, model.age) == (7, "7 training steps")
    assert model.weights_sha256 == WarpModel(run).weights_sha256
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    np.testing.assert_array_equal(model.generate(support), WarpModel(run).generate(support))


def test_a_folder_without_a_run_of_it_is_refused(run_folder, tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        models.load(tmp_path)
    shipped = ", ".join(models.shipped_names())
    with pytest.raises(RunError, match=rf"no such run folder, nor a shipped model \({shipped}\)"):
        models.load("omniglot-64")
    with pytest.raises(RunError, match="is a run of 'gan'; a run of 'warp' is needed"):
        WarpModel(run_folder)


def _change(path: pathlib.Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_an_altered_packaged_model_is_refused(packaged):
    weights = packaged / "weights.npz"
    whole = weights.read_bytes()
    altered = bytearray(whole)
    altered[len(altered) // 2] ^= 1
    weights.write_bytes(altered)
    with pytest.raises(RunError, match=r"weights\.npz: does not match the sha256"):
        models.load(packaged)
    weights.write_bytes(whole)
    record = (packaged / "weights.json").read_text()
    _change(packaged / "weights.json", sha256="0" * 64)
    with pytest.raises(RunError, match="does not match the sha256"):
        models.load(packaged)
    (packaged / "weights.json").write_text(record)
    _change(packaged / "settings.json", width=16)
    with pytest.raises(RunError, match="holds other weights than its settings describe"):
        models.load(packaged)
    (packaged / "settings.json").write_text("{}")
    with pytest.raises(RunError, match="its settings cannot be read"):
        models.load(packaged)
    (packaged / "settings.json").write_text("{")
    with pytest.raises(RunError, match=r"its settings\.json cannot be read"):
        models.load(packaged)


def test_damaged_checkpoints_are_refused_and_the_one_before_the_last_is_taken(run, tmp_path):
    copy = pathlib.Path(shutil.copytree(run, tmp_path / "copy"))
    (copy / "checkpoints/ckpt-000000007.index").write_bytes(b"torn")
    assert WarpModel(copy).meta_step == 6
    for index in (copy / "checkpoints").glob("*.index"):
        index.write_bytes(b"torn")
    with pytest.raises(RunError, match="none of its 3 checkpoints can be read"):
        models.load(copy)


@pytest.fixture
def former(run, settings, dataset, tmp_path):
    """The run as an earlier version would have left it."""
    folder = tmp_path / "former"
    folder.mkdir()
    np.savez(folder / "weights.npz", *weights_of(run))
    data = dataclasses.asdict(settings.data)
    del data["data_dir"], data["cache_dir"]
    names = ("num_tasks", "num_samples", "num_shots", "upright_share", "latent_dim", "width")
    record = {"data": data, "num_steps": 7, "learning_rate": 0.001, "seed": 0}
    record |= {name: getattr(settings, name) for name in names} | dataset.facts()
    digest = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    record |= runs.versions() | {"weights_sha256": digest}
    (folder / "warp.json").write_text(json.dumps(record))
    (folder / "split.json").write_text(dataset.split.to_json())
    return folder


def test_a_run_of_an_earlier_version_draws_as_it_did(run, former, dataset):
    model = models.load(former)
    assert models.system_of(former) == "warp"
    assert (model.meta_step, model.age) == (7, "7 training steps")
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    np.testing.assert_array_equal(model.generate(support), WarpModel(run).generate(support))
    judged = samplers.choose(str(former), None, None, None, num_samples=32, steps=[])
    judged.check(dataset, None)


def test_an_altered_or_unfinished_run_of_an_earlier_version_is_refused(former):
    record = json.loads((former / "warp.json").read_text())
    _change(former / "warp.json", weights_sha256="0" * 64)
    with pytest.raises(RunError, match="do not match their sha256"):
        models.load(former)
    del record["weights_sha256"]
    for text in (json.dumps(record), json.dumps({"weights_sha256": "0" * 64}), "{"):
        (former / "warp.json").write_text(text)
        with pytest.raises(RunError, match=r"not a finished run of figr_tf\.train_warp"):
            models.load(former)


def test_the_referee_finds_it_by_its_run_folder(run, dataset):
    judged = samplers.choose(str(run), None, None, None, num_samples=32, steps=[])
    judged.check(dataset, None)
    support = glyphs.glyph_images(3, 2, 16, seed=1)
    assert judged.sampler(support, None, 0)["model"].shape == (32, 16, 16, 1)
    split = dataset.split
    moved = dataclasses.replace(split, training=split.held_out, held_out=split.training)
    with pytest.raises(RunError, match="split"):
        judged.check(dataset._replace(split=moved), None)
