import json

import numpy as np
import pytest

from figr_tf.core.errors import DataError
from figr_tf.evaluation import episodes


def test_support_reference_and_held_out_are_disjoint_and_complete():
    episode = episodes.draw_episode("Greek/character01", 20, 4, seed=1)
    assert [len(part) for part in episode[1:]] == [4, 8, 8]
    assert sorted(np.concatenate(episode[1:])) == list(range(20))


def test_an_episode_depends_on_name_and_seed_alone():
    first, again = (episodes.draw_episode("a", 20, 4, seed=1) for _ in range(2))
    assert all((x == y).all() for x, y in zip(first[1:], again[1:], strict=True))
    for other in (
        episodes.draw_episode("b", 20, 4, seed=1),
        episodes.draw_episode("a", 20, 4, seed=2),
    ):
        assert (other.support != first.support).any()


def test_too_few_drawings_are_refused_naming_the_class():
    with pytest.raises(DataError, match=r"class a: 7 drawings are too few for 4 \+ 2 \+ 2"):
        episodes.draw_episode("a", 7, 4, seed=0)


def test_the_choice_of_classes_is_fixed_and_takes_all_if_there_are_few():
    names = [f"c{i:03d}" for i in range(50)]
    chosen = episodes.choose_classes(names, 20)
    assert chosen == sorted(chosen) == episodes.choose_classes(reversed(names), 20)
    assert len(set(chosen)) == 20
    assert episodes.choose_classes(names, 99) == names


def test_episode_file_survives_and_damage_is_one_line(tmp_path):
    drawn = [episodes.draw_episode(name, 20, 4, seed=0) for name in ("a", "b")]
    path = tmp_path / "episodes.json"
    path.write_text(episodes.to_json(drawn, {"num_shots": 4}))
    read, facts = episodes.from_json(path)
    assert facts == {"num_shots": 4}
    for a, b in zip(read, drawn, strict=True):
        assert a.class_name == b.class_name
        assert all((x == y).all() for x, y in zip(a[1:], b[1:], strict=True))
    for damage in (
        "{",
        "null",
        '"text"',
        '{"episodes": null}',
        json.dumps({"episodes": [{"class_name": "a"}]}),
    ):
        path.write_text(damage)
        with pytest.raises(DataError, match="not an episode file"):
            episodes.from_json(path)
