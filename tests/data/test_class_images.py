"""Decoded images and their cache: nothing stale, nothing half, whoever else is at it."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data import class_images
from figr_tf.data.class_images import ImageFormat
from figr_tf.data.image_trees import files_in_folder
from tests.conftest import ROOT
from tests.data.trees import load


def test_images_come_from_the_cache_the_second_time(tree, tmp_path, monkeypatch):
    first = load(lambda: files_in_folder(tree), tmp_path)
    monkeypatch.setattr(class_images, "decode_drawing", None)  # calling it would fail
    np.testing.assert_array_equal(
        load(lambda: files_in_folder(tree), tmp_path).images, first.images
    )


def test_a_changed_added_or_removed_image_is_noticed(tree, tmp_path):
    path = tree / "A/one/0.png"
    load(lambda: files_in_folder(tree), tmp_path)
    stamp = path.stat().st_mtime_ns
    Image.new("L", (20, 20), 7).save(path)
    os.utime(path, ns=(stamp, stamp + 1_000_000))
    assert load(lambda: files_in_folder(tree), tmp_path).images[0, 0, 0, 0] == 7
    path.unlink()
    assert load(lambda: files_in_folder(tree), tmp_path).counts["A/one"] == 1


def test_another_format_has_a_cache_of_its_own(tree, tmp_path):
    load(lambda: files_in_folder(tree), tmp_path)
    colour = class_images.load_images(
        lambda: files_in_folder(tree), ImageFormat(32, 3, "dark"), tmp_path / "cache"
    )
    assert colour.images.shape == (6, 32, 32, 3)


def test_unusable_files_are_skipped_by_name_also_when_they_come_from_the_cache(
    tree, tmp_path, caplog
):
    (tree / "A/one/broken.png").write_bytes(b"not an image at all")
    Image.new("L", (1, 1)).save(tree / "A/two/dot.png")
    (tree / "A/one/notes.txt").write_text("not even tried")
    for _ in range(2):
        caplog.clear()
        assert load(lambda: files_in_folder(tree), tmp_path).counts == {
            "A/one": 2,
            "A/two": 3,
            "B/one": 1,
        }
        messages = " ".join(record.getMessage() for record in caplog.records)
        assert "broken.png" in messages
        assert "dot.png: 1×1" in messages
        assert "notes.txt" not in messages


def test_an_interrupted_decoding_leaves_no_cache_behind(tree, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(class_images, "decode_drawing", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(lambda: files_in_folder(tree), tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []
    assert sum(load(lambda: files_in_folder(tree), tmp_path).counts.values()) == 6


def test_a_cache_that_cannot_be_written_says_which_flag_helps(tree, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="--cache_dir"):
        load(lambda: files_in_folder(tree), tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda f: (f / "images.u8").write_bytes(b""), lambda f: (f / "index.json").unlink()]
)
def test_a_damaged_cache_is_made_anew(tree, tmp_path, damage):
    load(lambda: files_in_folder(tree), tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    damage(folder)
    assert load(lambda: files_in_folder(tree), tmp_path).images.shape == (6, 16, 16, 1)


def test_half_decoded_folders_of_killed_processes_are_swept_after_a_day(tree, tmp_path):
    old, new = tmp_path / "cache/unfinished-old", tmp_path / "cache/unfinished-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    load(lambda: files_in_folder(tree), tmp_path)
    assert not old.exists()
    assert new.exists()


def test_files_are_decoded_side_by_side(tree, tmp_path, monkeypatch):
    """Two decoders that wait for each other finish only if they run at the same time."""
    barrier = threading.Barrier(2, timeout=20)
    decode = class_images.decode_drawing

    def meet(*arguments):
        barrier.wait()
        return decode(*arguments)

    monkeypatch.setattr(class_images, "decode_drawing", meet)
    assert sum(load(lambda: files_in_folder(tree), tmp_path).counts.values()) == 6


def test_the_digest_sees_names_counts_and_every_pixel(tree, tmp_path):
    data = load(lambda: files_in_folder(tree), tmp_path)
    pixels = np.array(data.images)
    pixels[-1, -1, -1] ^= 1
    others = [
        data._replace(images=pixels),
        data._replace(counts={"A/one": 1, "A/two": 4, "B/one": 1}),
    ]
    assert len({d.digest() for d in [data, *others]}) == 3


def test_whoever_fills_a_cold_cache_second_takes_what_is_there(tree, tmp_path, monkeypatch):
    """The other one comes first at the worst moment: when this one has decoded everything."""
    decoded = class_images._decoded
    winners = []

    def second(*arguments):
        yield from decoded(*arguments)
        monkeypatch.setattr(class_images, "_decoded", decoded)
        winners.append(load(lambda: files_in_folder(tree), tmp_path))

    monkeypatch.setattr(class_images, "_decoded", second)
    loser = load(lambda: files_in_folder(tree), tmp_path)
    np.testing.assert_array_equal(loser.images, winners[0].images)
    assert loser.counts == winners[0].counts
    (left,) = (tmp_path / "cache").iterdir()
    assert not left.name.startswith("unfinished")


def test_four_processes_on_one_cold_cache_all_get_the_images(tree, tmp_path):
    script = """
import pathlib, sys
from figr_tf.data import class_images, image_trees
tree, cache = map(pathlib.Path, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
for i in range(40):
    load = class_images.load_images
    images = load(lambda: image_trees.files_in_folder(tree), (16, 1, "dark"), cache / str(i))
    assert len(images.images) == 6
"""
    command = [sys.executable, "-c", script, str(tree), str(tmp_path / "cache")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    processes = [subprocess.Popen(command, cwd=ROOT, text=True, **pipes) for _ in range(4)]
    for process in processes:  # All have to have been imported before one begins.
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert not list((tmp_path / "cache").glob("*/unfinished-*"))


def test_caches_that_nobody_used_for_long_are_cleared(tree, tmp_path):
    load(lambda: files_in_folder(tree), tmp_path)
    (old,) = (tmp_path / "cache").iterdir()
    os.utime(old / "index.json", (0, 0))
    other = tmp_path / "cache/somebody's notes"
    other.mkdir()
    os.utime(other, (0, 0))
    Image.new("L", (20, 20), 7).save(tree / "B/one/new.png")
    load(lambda: files_in_folder(tree), tmp_path)
    assert not old.exists()
    assert other.exists()


def test_a_cache_that_is_used_stays(tree, tmp_path):
    load(lambda: files_in_folder(tree), tmp_path)
    (cache,) = (tmp_path / "cache").iterdir()
    os.utime(cache / "index.json", (0, time.time() - 50 * 86_400))
    for _ in range(2):  # The first use makes it new.
        load(lambda: files_in_folder(tree), tmp_path)
        assert time.time() - (cache / "index.json").stat().st_mtime < 3600
