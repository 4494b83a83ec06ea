import dataclasses
import json

import pytest

from figr_tf.core.errors import DataError
from figr_tf.data import splits

NAMES = [f"c{i}" for i in range(30)]


def test_random_split_is_seeded_disjoint_and_complete():
    split = splits.random_split("random", NAMES, 5, seed=3)
    assert len(split.held_out) == 5
    assert sorted(split.training + split.held_out) == sorted(NAMES)
    assert splits.random_split("random", reversed(NAMES), 5, seed=3) == split
    assert splits.random_split("random", NAMES, 5, seed=4) != split


def test_digest_tells_splits_apart():
    split = splits.random_split("random", NAMES, 5, seed=3)
    moved = dataclasses.replace(
        split, training=split.training[1:], held_out=(*split.held_out, split.training[0])
    )
    assert len({split.digest(), moved.digest()}) == 2
    assert dataclasses.replace(split, name="other").digest() == split.digest()


def test_a_split_survives_its_file_and_an_altered_one_is_refused(tmp_path):
    split = splits.random_split("random", NAMES, 5, seed=3)
    path = tmp_path / "split.json"
    path.write_text(split.to_json())
    assert splits.Split.read(path) == split
    fields = json.loads(path.read_text())
    fields["held_out"].pop()
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="altered"):
        splits.Split.read(path)


def test_an_empty_side_is_refused():
    with pytest.raises(DataError, match="no held-out class"):
        splits.split_by("x", NAMES, lambda _: False)
    with pytest.raises(DataError, match="none would be left"):
        splits.random_split("x", NAMES, 30, seed=0)
