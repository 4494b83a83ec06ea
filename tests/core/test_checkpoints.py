"""Save, find, restore, refuse; damage of every kind falls back or is named."""

import resource

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core import checkpoints, reptile
from figr_tf.core.errors import RunError
from tests.core.quadratic import QuadraticSystem

IDENTITY = {"network.image_size": 16, "seed": 0, "split_sha256": "abc"}


def _reptile(seed: int) -> reptile.Reptile:
    """Weights, optimisers, average, carried state and counters that tell one seed from another."""
    state = reptile.Reptile(QuadraticSystem(seed=seed), average_decay=0.5)
    others = [optimizer.variables for optimizer in state.optimizers.values()]
    for i, variable in enumerate(tf.nest.flatten([*others, state.average, state.carried])):
        variable.assign(tf.cast(tf.fill(variable.shape, seed + i), variable.dtype))
    state.num_skipped.assign(seed + 3)
    return state


def _everything(state: reptile.Reptile) -> list[np.ndarray]:
    return [variable.numpy() for variable in checkpoints.state_variables(state)]


def _equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(_everything(a), _everything(b), strict=True))


@pytest.fixture(scope="module")
def saved():
    return _reptile(seed=1)


@pytest.fixture(scope="module")
def fresh():
    return _reptile(seed=2)


@pytest.fixture
def folder(tmp_path, saved):
    """Checkpoints of meta-steps 2 and 4."""
    for step in (2, 4):
        saved.meta_step.assign(step)
        checkpoints.save(tmp_path, saved, IDENTITY)
    return tmp_path


def test_every_bit_of_the_state_comes_back(folder, saved, fresh):
    assert checkpoints.restore_training(folder, fresh, IDENTITY)
    assert _equal(saved, fresh)
    assert int(fresh.meta_step) == 4


def test_an_empty_folder_means_a_fresh_start(tmp_path, fresh):
    before = _everything(fresh)
    assert not checkpoints.restore_training(tmp_path, fresh, IDENTITY)
    assert all(np.array_equal(a, b) for a, b in zip(before, _everything(fresh), strict=True))


@pytest.mark.parametrize(("keep", "left"), [(3, (3, 4, 5)), (1, (5,)), (9, (1, 2, 3, 4, 5))])
def test_as_many_of_the_newest_are_kept_as_the_settings_say(tmp_path, saved, keep, left):
    for step in range(1, 6):
        saved.meta_step.assign(step)
        checkpoints.save(tmp_path, saved, IDENTITY, keep)
    expected = [f"ckpt-00000000{i}.index" for i in left]
    assert sorted(p.name for p in tmp_path.glob("*.index")) == expected


def test_a_damaged_later_checkpoint_takes_the_place_of_no_good_one(tmp_path, saved, fresh):
    for step in (4, 9, 5):
        saved.meta_step.assign(step)
        checkpoints.save(tmp_path, saved, IDENTITY, keep=1)
        if step == 9:
            _flip_a_bit(next(tmp_path.glob("ckpt-000000009.data*")))
    assert checkpoints.restore_training(tmp_path, fresh, IDENTITY)
    assert int(fresh.meta_step) == 5


def _flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def _cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("damage", [_flip_a_bit, _cut_short, _empty, lambda path: path.unlink()])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    folder, fresh, caplog, part, damage
):
    damage(folder / f"ckpt-000000004.{part}")
    assert checkpoints.restore_training(folder, fresh, IDENTITY)
    assert int(fresh.meta_step) == 2
    if (
        folder / "ckpt-000000004.index"
    ).exists():  # without its index it does not count as a checkpoint
        assert "ckpt-000000004 is damaged" in caplog.text


@pytest.mark.parametrize("content", [b"", b'model_checkpoint_path: "ckpt-0000', b"\x00\xff"])
def test_a_torn_bookkeeping_file_does_not_matter(folder, fresh, content):
    (folder / "checkpoint").write_bytes(content)
    assert checkpoints.restore_training(folder, fresh, IDENTITY)
    assert int(fresh.meta_step) == 4


def test_never_a_silent_restart_when_all_are_damaged(folder, fresh):
    for path in folder.glob("ckpt-*.data*"):
        _cut_short(path)
    with pytest.raises(RunError, match="none of its 2 checkpoints can be read"):
        checkpoints.restore_training(folder, fresh, IDENTITY)


@pytest.mark.parametrize("key", list(IDENTITY))
def test_a_checkpoint_of_something_else_is_refused_naming_both(folder, fresh, key):
    with pytest.raises(
        RunError, match=rf"trained with {key}={IDENTITY[key]}, this command has {key}=64"
    ) as caught:
        checkpoints.restore_training(folder, fresh, IDENTITY | {key: 64})
    assert "\n" not in str(caught.value)


def test_what_a_killed_save_leaves_is_swept_and_what_is_whole_stays(folder, fresh):
    (folder / "ckpt-000000006_temp").mkdir()
    (folder / "ckpt-000000006_temp/part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (folder / "ckpt-000000006.data-00000-of-00001").write_bytes(b"data without its index")
    checkpoints.sweep(folder)
    assert sorted({p.name.split(".")[0] for p in folder.iterdir()}) == [
        "ckpt-000000002",
        "ckpt-000000004",
    ]
    assert checkpoints.restore_training(folder, fresh, IDENTITY)


@pytest.mark.parametrize("averaged", [0.0, 0.5])
def test_weights_alone_come_back_averaged_if_the_run_averages_them(folder, saved, averaged):
    twin = QuadraticSystem(seed=9)
    identity = IDENTITY | {"meta_average": averaged}
    meta_step = checkpoints.restore_weights(folder, twin.meta_weights, identity, twin.carried)
    assert meta_step == 4
    expected = (saved.average if averaged else saved.meta_weights), saved.carried
    found = dict(twin.meta_weights), twin.carried
    for a, b in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_without_a_checkpoint_are_one_line(tmp_path):
    with pytest.raises(RunError, match="no checkpoint there yet"):
        checkpoints.restore_weights(tmp_path, QuadraticSystem().meta_weights, IDENTITY)


def test_a_full_disk_is_named_and_keeps_the_last_good_checkpoint(folder, saved, fresh):
    """A limit on the size of files stands for a full disk: the write fails half-way."""
    saved.meta_step.assign(6)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(
            RunError, match=r"ckpt-000000006: cannot be written .*last good .*ckpt-000000004"
        ):
            checkpoints.save(folder, saved, IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(folder.glob("*ckpt-000000006*"))
    assert checkpoints.restore_training(folder, fresh, IDENTITY)
    assert int(fresh.meta_step) == 4


def test_copies_beside_checkpoints_are_neither_taken_nor_swept(folder, fresh):
    """Such as a browser or a file manager makes."""
    copies = [f"ckpt-000000006 (1).{end}" for end in ("index", "data-00000-of-00001")]
    for name in copies:
        (folder / name).write_bytes(b"a copy")
    checkpoints.sweep(folder)
    assert checkpoints.restore_training(folder, fresh, IDENTITY)
    assert int(fresh.meta_step) == 4
    assert all((folder / name).exists() for name in copies)
