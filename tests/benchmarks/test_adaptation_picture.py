"""Which classes the picture of adaptation shows, under which seeds."""

from benchmarks.adaptation_picture import shown


def test_columns_are_spread_evenly_from_end_to_end():
    assert shown(list("abcdefghijk"), 6) == [(name, 0) for name in "acegik"]


def test_one_class_alone_is_shown_with_a_seed_for_each_column():
    assert shown(["9"], 4) == [("9", 0), ("9", 1), ("9", 2), ("9", 3)]


def test_each_class_that_comes_again_has_the_next_seed():
    assert shown(["a", "b"], 4) == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
