"""A packaged model of a run of no training, of weights of two shapes and one carried number."""

import errno
import json
import os
import shutil
import types
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import checkpoints, runs, trained
from figr_tf.core.errors import RunError
from figr_tf.core.optimizers import Interpolation
from figr_tf.core.reptile import Reptile
from figr_tf.core.settings import TrainingSettings, full_identity


class PairSettings(TrainingSettings):
    """Of a system that these tests alone know."""

    system = "pair"


class Weights(NamedTuple):
    """Variables as a system holds them."""

    groups: dict[str, list[tf.Variable]]
    carried: list[tf.Variable]

    def values(self) -> list[np.ndarray]:
        return [v.numpy() for v in tf.nest.flatten((self.groups, self.carried))]


def _zeros(width: int = 3) -> Weights:
    groups = {
        "first": [tf.Variable(tf.zeros([2, width])), tf.Variable(tf.zeros([width]))],
        "second": [tf.Variable(tf.zeros([4]))],
    }
    return Weights(groups, [tf.Variable(0.0)])


def _random() -> Weights:
    rng = np.random.default_rng(0)
    weights = _zeros()
    for variable in tf.nest.flatten((weights.groups, weights.carried)):
        variable.assign(rng.normal(size=variable.shape))
    return weights


def _run(path, settings: PairSettings, weights: Weights) -> runs.RunFolder:
    """A run with one checkpoint, of meta-step 5; an average of Φ, if it keeps one, is Φ / 2."""
    folder, identity = runs.RunFolder(path), full_identity(settings, {}, False)
    folder.record(settings, identity, {"flags.txt": "--seed=0\n", "split.json": "{}"})
    system = types.SimpleNamespace(
        meta_weights=weights.groups,
        carried=weights.carried,
        make_optimizer=lambda: Interpolation(1.0),
        metric_labels={},
    )
    state = Reptile(system, settings.meta_average)
    for average in tf.nest.flatten(state.average):
        average.assign(average / 2.0)
    state.meta_step.assign(5)
    checkpoints.save(folder.checkpoints, state, identity)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> runs.RunFolder:
    return _run(tmp_path_factory.mktemp("runs") / "run", PairSettings(), _random())


def _package(run, out, dtype="float32") -> int:
    return trained.package(run, out, *_zeros(), dtype=dtype)


@pytest.fixture
def packaged(run, tmp_path) -> runs.RunFolder:
    _package(run, tmp_path / "model")
    return runs.RunFolder(tmp_path / "model")


def _restored(folder: runs.RunFolder) -> list[np.ndarray]:
    weights = _zeros()
    assert trained.restore(folder, *weights) == 5
    return weights.values()


def test_a_packaged_model_restores_the_bits_and_the_meta_step_of_its_run(run, packaged):
    assert packaged.is_packaged()
    assert not run.is_packaged()
    for a, b, c in zip(_restored(run), _restored(packaged), _random().values(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)


def test_it_keeps_the_run_s_record_and_needs_none_of_its_checkpoints(run, packaged):
    names = sorted(path.name for path in packaged.path.iterdir())
    kept = ["flags.txt", "identity.json", "settings.json", "split.json"]
    assert names == [*kept, "weights.json", "weights.npz"]
    for name in kept:
        assert (packaged.path / name).read_bytes() == (run.path / name).read_bytes()
    assert packaged.read_settings(PairSettings) == PairSettings()


def test_where_the_data_lay_is_not_packaged(run, tmp_path):
    copy = runs.RunFolder(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    settings = json.loads((run.path / "settings.json").read_text())
    settings["data"] = {"dataset": "glyphs", "data_dir": "/home/me", "cache_dir": "/home/me"}
    (copy.path / "settings.json").write_text(json.dumps(settings))
    (copy.path / "flags.txt").write_text("--seed=7\n--data_dir=/home/me\n--cache_dir=/home/me\n")
    _package(copy, tmp_path / "model")
    found = json.loads((tmp_path / "model/settings.json").read_text())
    assert found["data"] == {"dataset": "glyphs", "data_dir": None, "cache_dir": None}
    assert {k: v for k, v in found.items() if k != "data"} == {
        k: v for k, v in settings.items() if k != "data"
    }
    assert (tmp_path / "model/flags.txt").read_text() == "--seed=7\n"


def test_the_size_returned_is_that_of_the_file_of_weights(run, tmp_path):
    size = _package(run, tmp_path / "model")
    assert size == (tmp_path / "model/weights.npz").stat().st_size


def test_where_a_run_keeps_an_average_the_average_is_packaged(tmp_path):
    run = _run(tmp_path / "run", PairSettings(meta_average=0.9), _random())
    _package(run, tmp_path / "model")
    *found, carried = _restored(runs.RunFolder(tmp_path / "model"))
    *values, carried_then = _random().values()
    for a, b in zip(found, values, strict=True):
        np.testing.assert_array_equal(a, b / np.float32(2))
    assert carried == carried_then


def test_float16_keeps_weights_within_its_rounding_in_less_room(run, packaged, tmp_path):
    _package(run, tmp_path / "small", dtype="float16")
    with np.load(tmp_path / "small/weights.npz") as arrays:
        halved = {array.dtype for name, array in arrays.items() if name != "carried/0"}
        assert halved == {np.dtype("float16")}
    small = _restored(runs.RunFolder(tmp_path / "small"))
    whole = _restored(packaged)
    for a, b in zip(small, whole, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=2.0**-11)
    assert any(np.any(a != b) for a, b in zip(small, whole, strict=True))


def test_float16_leaves_what_is_carried_as_it_was(tmp_path):
    """A classifier's second moments, and how many steps they are of."""
    moments = [tf.Variable([1e-9, 200_000.0])]
    folder = _run(tmp_path / "run", PairSettings(), Weights(_random().groups, moments))
    empty = [tf.Variable(tf.zeros([2]))]
    trained.package(folder, tmp_path / "small", _zeros().groups, empty, "float16")
    found = [tf.Variable(tf.zeros([2]))]
    trained.restore(runs.RunFolder(tmp_path / "small"), _zeros().groups, found)
    np.testing.assert_array_equal(found[0], moments[0])


def test_a_data_folder_whose_name_is_no_utf8_does_not_keep_a_run_from_being_packaged(run, tmp_path):
    copy = runs.RunFolder(tmp_path / "run")
    shutil.copytree(run.path, copy.path)
    (copy.path / "flags.txt").write_bytes(b"--held_out_classes=\xc3\xbc\n--data_dir=/Z\xfcge\n")
    _package(copy, tmp_path / "model")
    assert (tmp_path / "model/flags.txt").read_bytes() == b"--held_out_classes=\xc3\xbc\n"


@pytest.mark.parametrize("at", [0, 0.3, 0.7, -1])
def test_a_changed_byte_is_refused_by_the_name_of_its_file(packaged, at):
    path = packaged.path / "weights.npz"
    data = bytearray(path.read_bytes())
    data[int(at * len(data)) if at > 0 else at] ^= 1
    path.write_bytes(data)
    weights = _zeros()
    with pytest.raises(RunError, match=r"weights\.npz: does not match the sha256 in weights\.json"):
        trained.restore(packaged, *weights)
    for value in weights.values():
        np.testing.assert_array_equal(value, 0)


def test_a_lost_file_of_weights_and_a_damaged_record_are_refused_by_name(packaged):
    record = packaged.path / "weights.json"
    whole = record.read_text()
    for text in ("{", "{}", "[]", json.dumps({"sha256": json.loads(whole)["sha256"]})):
        record.write_text(text)
        with pytest.raises(RunError, match="model: its weights cannot be read"):
            trained.restore(packaged, *_zeros())
    record.write_text(whole)
    (packaged.path / "weights.npz").unlink()
    with pytest.raises(RunError, match=r"its weights cannot be read.*weights\.npz"):
        trained.restore(packaged, *_zeros())


@pytest.mark.parametrize("other", ["another width", "a group more", "a group fewer", "no carried"])
def test_weights_of_other_shapes_are_refused_and_none_is_changed(packaged, other):
    groups, carried = _zeros(width=4 if other == "another width" else 3)
    if other == "a group more":
        groups["third"] = [tf.Variable(0.0)]
    if other == "a group fewer":
        del groups["second"]
    weights = Weights(groups, [] if other == "no carried" else carried)
    with pytest.raises(RunError, match=r"weights\.npz: holds other weights than its settings"):
        trained.restore(packaged, *weights)
    for value in weights.values():
        np.testing.assert_array_equal(value, 0)


def test_a_folder_that_exists_is_not_written_into(run, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(RunError, match=r"model: exists\. Choose another folder"):
        _package(run, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_a_run_without_weights_makes_no_folder(tmp_path):
    folder = runs.RunFolder(tmp_path / "run")
    folder.record(PairSettings(), full_identity(PairSettings(), {}, False), {})
    with pytest.raises(RunError, match="no checkpoint there yet"):
        _package(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_packaged_model_can_be_packaged_again(packaged, tmp_path):
    _package(packaged, tmp_path / "again")
    digests = {trained.weights_sha256(path) for path in (packaged.path, tmp_path / "again")}
    assert len(digests) == 1
    again = runs.RunFolder(tmp_path / "again")
    for a, b in zip(_restored(again), _restored(packaged), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_full_disk_is_named_and_leaves_no_half_of_a_model(run, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trained, "write", full)
    with pytest.raises(RunError, match=r"out: cannot be written \(No space left on device\)"):
        _package(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
