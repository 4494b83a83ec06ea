"""A text becomes windows of classes: what is held out, what is rare, and what is refused."""

import collections
import hashlib

import numpy as np
import pytest

from figr_tf.core.errors import DataError
from figr_tf.sequences import text
from figr_tf.sequences.text import OTHER, TextSettings

LENGTH = 10


def _load(path, content, length=LENGTH):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return text.load(TextSettings(str(path), length))


def _random_text(count, letters="abcdefgh"):
    return "".join(np.random.default_rng(0).choice(list(letters), count))


def test_every_tenth_block_is_held_out_and_no_training_window_touches_it(tmp_path):
    blocks = [_random_text(LENGTH) if i % 10 else "#" * LENGTH for i in range(43)]
    loaded = _load(tmp_path / "a.txt", "".join(blocks) + "tail")
    assert loaded.held_out.shape == (5, LENGTH)
    # What only the held-out part has is no character of the alphabet.
    assert "#" not in loaded.alphabet
    assert not loaded.held_out.any()
    whole = "".join(blocks)
    windows = loaded.stream[loaded.starts[:, None] + np.arange(LENGTH)]
    assert all(window in whole for window in loaded.strings(windows))
    # Nine blocks stand together four times, then two: 81 places to begin at, and 11.
    assert len(windows) == 4 * 81 + 11


def test_a_character_that_occurs_ten_times_has_a_class_and_rarer_ones_share_one(tmp_path):
    # Held out: the first block of ten.
    training = "é" * 10 + "ß" * 9 + "x" * 71
    loaded = _load(tmp_path / "a.txt", ("ééééé漢ßßßx" + training) * 2)
    assert loaded.alphabet == OTHER + "xßé"  # Twice nine is enough.
    loaded = _load(tmp_path / "b.txt", "ééééé漢ßßßx" + training + "ééééé漢ßßßx" + "x" * 90)
    assert loaded.alphabet == OTHER + "xé"
    assert loaded.strings(loaded.held_out) == [f"ééééé{OTHER * 4}x"] * 2
    assert loaded.num_classes == 3


def test_frequencies_are_of_the_training_part_and_each_class_counts_once_more(tmp_path):
    content = _random_text(800)
    loaded = _load(tmp_path / "a.txt", content)
    blocks = [content[i : i + LENGTH] for i in range(0, 800, LENGTH)]
    counts = collections.Counter("".join(b for i, b in enumerate(blocks) if i % 10))
    nats = loaded.nats_alone(loaded.held_out)
    assert nats.shape == (8, LENGTH)
    total = sum(counts.values()) + len(counts) + 1
    expected = [-np.log((counts[c] + 1) / total) for c in blocks[10]]
    np.testing.assert_allclose(nats[1], expected)


def test_windows_line_ends_and_mark_are_no_characters_but_part_of_the_hash(tmp_path):
    content = (_random_text(9) + "\n") * 40
    plain = _load(tmp_path / "a.txt", content)
    saved_on_windows = b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()
    other = _load(tmp_path / "b.txt", saved_on_windows)
    assert plain.alphabet == other.alphabet
    np.testing.assert_array_equal(plain.stream, other.stream)
    assert plain.facts["data_sha256"] == hashlib.sha256(content.encode()).hexdigest()
    assert plain.facts["data_sha256"] != other.facts["data_sha256"]


def test_a_picture_has_every_window_and_sample_on_lines_of_its_own(tmp_path):
    loaded = _load(tmp_path / "a.txt", _random_text(300, "ab\n "))
    few, more = (loaded.picture(loaded.held_out[:2], loaded.held_out[:n]) for n in (1, 3))
    assert more.height > few.height
    assert np.asarray(few).min() < 100 < np.asarray(few).max()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 characters are too few for windows of 10. Give 200 or more"),
        (b"a" * 199, "199 characters are too few"),
        ("ä".encode("latin-1") * 400, "not UTF-8. Save the file"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 400))).encode(), "no character occurs 10 times"),
    ],
)
def test_what_is_no_text_or_too_short_is_refused_by_name(tmp_path, content, said):
    with pytest.raises(DataError, match=rf"a\.txt: {said}"):
        _load(tmp_path / "a.txt", content)


def test_a_file_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt: No such file.*--text"):
        text.load(TextSettings(str(tmp_path / "gone.txt"), LENGTH))
    with pytest.raises(DataError, match=r"directory.*--text"):
        text.load(TextSettings(str(tmp_path), LENGTH))
