"""Folders and zips: the same images by either route, nothing outside them touched, nothing stale
from the cache.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data import class_images
from figr_tf.data.class_images import ImageFormat
from figr_tf.data.image_trees import files_in_folder, files_in_zip
from tests.conftest import ROOT

FORMAT = ImageFormat(16, 1, "dark")


def _write_tree(root: pathlib.Path) -> pathlib.Path:
    """Two alphabets, three classes, 2 + 3 + 1 images, each of one grey that tells it apart."""
    grey = 0
    for class_name, count in {"A/one": 2, "A/two": 3, "B/one": 1}.items():
        (root / class_name).mkdir(parents=True)
        for i in range(count):
            grey += 20
            Image.new("L", (20, 20), grey).save(root / class_name / f"{i}.png")
    return root


def _zip_tree(root: pathlib.Path, target: pathlib.Path, prefix: str = "") -> pathlib.Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, prefix + str(path.relative_to(root)))
    return target


@pytest.fixture
def tree(tmp_path):
    return _write_tree(tmp_path / "tree")


def _load(list_files, tmp_path):
    return class_images.load_images(list_files, FORMAT, tmp_path / "cache")


def test_classes_are_leaf_folders_and_images_lie_class_by_class(tree, tmp_path):
    data = _load(lambda: files_in_folder(tree), tmp_path)
    assert data.counts == {"A/one": 2, "A/two": 3, "B/one": 1}
    assert data.starts() == {"A/one": 0, "A/two": 2, "B/one": 5}
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], [20, 40, 60, 80, 100, 120])
    assert data.images.shape == (6, 16, 16, 1)


def test_a_zip_gives_what_its_folder_gives(tree, tmp_path):
    zipped = _zip_tree(tree, tmp_path / "t.zip", "top/")
    from_folder = _load(lambda: files_in_folder(tree), tmp_path)
    from_zip = _load(lambda: files_in_zip(zipped, root="top"), tmp_path)
    assert from_zip.counts == from_folder.counts
    np.testing.assert_array_equal(from_zip.images, from_folder.images)


def test_images_come_from_the_cache_the_second_time(tree, tmp_path, monkeypatch):
    first = _load(lambda: files_in_folder(tree), tmp_path)
    monkeypatch.setattr(class_images, "decode_drawing", None)  # calling it would fail
    np.testing.assert_array_equal(
        _load(lambda: files_in_folder(tree), tmp_path).images, first.images
    )


def test_a_changed_added_or_removed_image_is_noticed(tree, tmp_path):
    path = tree / "A/one/0.png"
    _load(lambda: files_in_folder(tree), tmp_path)
    stamp = path.stat().st_mtime_ns
    Image.new("L", (20, 20), 7).save(path)
    os.utime(path, ns=(stamp, stamp + 1_000_000))
    assert _load(lambda: files_in_folder(tree), tmp_path).images[0, 0, 0, 0] == 7
    path.unlink()
    assert _load(lambda: files_in_folder(tree), tmp_path).counts["A/one"] == 1


def test_another_format_has_a_cache_of_its_own(tree, tmp_path):
    _load(lambda: files_in_folder(tree), tmp_path)
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
        assert _load(lambda: files_in_folder(tree), tmp_path).counts == {
            "A/one": 2,
            "A/two": 3,
            "B/one": 1,
        }
        messages = " ".join(record.getMessage() for record in caplog.records)
        assert "broken.png" in messages
        assert "dot.png: 1×1" in messages
        assert "notes.txt" not in messages


def test_a_zip_that_points_outside_writes_nothing_and_is_skipped_by_name(tree, tmp_path, caplog):
    evil = _zip_tree(tree, tmp_path / "evil.zip")
    with zipfile.ZipFile(evil, "a") as archive:
        for name in ("../outside.png", "A/../../outside2.png", "/tmp/absolute.png"):
            archive.writestr(zipfile.ZipInfo(name), (tree / "A/one/0.png").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    files = list(files_in_zip(evil))
    assert len(files) == 6
    assert sorted(tmp_path.rglob("*")) == before
    assert all(
        name in caplog.text for name in ("../outside.png", "outside2.png", "/tmp/absolute.png")
    )
    assert not any(".." in file.class_name for file in files)


def test_a_damaged_member_is_skipped_and_the_rest_is_read(tree, tmp_path, caplog):
    zipped = _zip_tree(tree, tmp_path / "t.zip")
    with zipfile.ZipFile(zipped) as archive:
        info = archive.infolist()[0]
    data = bytearray(zipped.read_bytes())
    data[info.header_offset + 60] ^= 0xFF
    zipped.write_bytes(data)
    assert sum(_load(lambda: files_in_zip(zipped), tmp_path).counts.values()) == 5
    assert info.filename in caplog.text


def test_not_a_zip_is_one_line(tmp_path):
    (tmp_path / "t.zip").write_text("html error page")
    with pytest.raises(DataError, match=r"t.zip: not a readable zip"):
        list(files_in_zip(tmp_path / "t.zip"))


def test_no_images_at_all_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no usable image"):
        _load(lambda: files_in_folder(tmp_path / "empty"), tmp_path)


def test_an_interrupted_decoding_leaves_no_cache_behind(tree, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(class_images, "decode_drawing", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _load(lambda: files_in_folder(tree), tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []
    assert sum(_load(lambda: files_in_folder(tree), tmp_path).counts.values()) == 6


def test_a_cache_that_cannot_be_written_says_which_flag_helps(tree, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="--cache_dir"):
        _load(lambda: files_in_folder(tree), tmp_path)


def test_a_file_that_cannot_be_read_ends_the_loading_by_name_and_is_not_remembered(tree, tmp_path):
    link = tree / "A/one/link.png"
    link.symlink_to(tmp_path / "later.png")
    with pytest.raises(
        DataError, match=r"link\.png: No such file .*Make it readable, or remove it"
    ):
        _load(lambda: files_in_folder(tree), tmp_path)
    (tmp_path / "later.png").write_bytes((tree / "A/one/0.png").read_bytes())
    assert _load(lambda: files_in_folder(tree), tmp_path).counts["A/one"] == 3


@pytest.mark.parametrize(
    "damage", [lambda f: (f / "images.u8").write_bytes(b""), lambda f: (f / "index.json").unlink()]
)
def test_a_damaged_cache_is_made_anew(tree, tmp_path, damage):
    _load(lambda: files_in_folder(tree), tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    damage(folder)
    assert _load(lambda: files_in_folder(tree), tmp_path).images.shape == (6, 16, 16, 1)


def test_half_decoded_folders_of_killed_processes_are_swept_after_a_day(tree, tmp_path):
    old, new = tmp_path / "cache/unfinished-old", tmp_path / "cache/unfinished-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    _load(lambda: files_in_folder(tree), tmp_path)
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
    assert sum(_load(lambda: files_in_folder(tree), tmp_path).counts.values()) == 6


def test_the_digest_sees_names_counts_and_every_pixel(tree, tmp_path):
    data = _load(lambda: files_in_folder(tree), tmp_path)
    pixels = np.array(data.images)
    pixels[-1, -1, -1] ^= 1
    others = [
        data._replace(images=pixels),
        data._replace(counts={"A/one": 1, "A/two": 4, "B/one": 1}),
    ]
    assert len({d.digest() for d in [data, *others]}) == 3


@pytest.mark.parametrize("leftover", [".ipynb_checkpoints", "@eaDir", "__MACOSX", "A/one/.thumbs"])
def test_folders_that_programs_leave_behind_are_no_classes(tree, tmp_path, leftover):
    (tree / leftover).mkdir()
    shutil.copy(tree / "A/one/0.png", tree / leftover / "0.png")
    zipped = _zip_tree(tree, tmp_path / "t.zip")
    for list_files in (lambda: files_in_folder(tree), lambda: files_in_zip(zipped)):
        assert {file.class_name for file in list_files()} == {"A/one", "A/two", "B/one"}


def test_links_to_folders_are_followed_once_and_circles_end_in_a_warning(tree, tmp_path, caplog):
    store = _write_tree(tmp_path / "store")
    for name, target in {
        "cat": store / "A/one",
        "again": store / "A/one",
        "loop": tree,
        "in": tree / "A",
    }.items():
        (tree / name).symlink_to(target)
    (tree / "A/up").symlink_to(tmp_path)
    names = [file.class_name for file in files_in_folder(tree)]
    assert names.count("again") == 2, "the first of two links to one folder"
    assert sorted(set(names)) == ["A/one", "A/two", "B/one", "again"]
    assert "cat: not read, since another link leads to the same folder" in caplog.text
    assert all(
        f"{tree / name}: link not followed" in caplog.text for name in ("loop", "in", "A/up")
    )


def test_images_of_a_kind_that_cannot_be_read_are_named_and_unusual_suffixes_of_jpegs_are_read(
    tree, tmp_path, caplog
):
    for name in ("a.jfif", "b.JPE"):
        Image.new("L", (20, 20), 50).save(tree / "B/one" / name, "JPEG")
    (tree / "B/one/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert _load(lambda: files_in_folder(tree), tmp_path).counts["B/one"] == 3
    assert "8 of 9 images used; left out" in caplog.text
    assert "IMG_1.HEIC: not an image of a kind that can be read here" in caplog.text


def test_whoever_fills_a_cold_cache_second_takes_what_is_there(tree, tmp_path, monkeypatch):
    """The other one comes first at the worst moment: when this one has decoded everything."""
    decoded = class_images._decoded
    winners = []

    def second(*arguments):
        yield from decoded(*arguments)
        monkeypatch.setattr(class_images, "_decoded", decoded)
        winners.append(_load(lambda: files_in_folder(tree), tmp_path))

    monkeypatch.setattr(class_images, "_decoded", second)
    loser = _load(lambda: files_in_folder(tree), tmp_path)
    np.testing.assert_array_equal(loser.images, winners[0].images)
    assert loser.counts == winners[0].counts
    assert [path.name[:10] for path in (tmp_path / "cache").iterdir()] != ["unfinished"]


def test_four_processes_on_one_cold_cache_all_get_the_images(tree, tmp_path):
    script = """
import pathlib, sys, time
from figr_tf.data import class_images, image_trees
tree, cache, start = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
time.sleep(max(0.0, start - time.time()))
for i in range(40):
    load = class_images.load_images
    images = load(lambda: image_trees.files_in_folder(tree), (16, 1, "dark"), cache / str(i))
    assert len(images.images) == 6
"""
    start = str(time.time() + 1.5)  # When all of them have been imported, if the machine is quiet.
    command = [sys.executable, "-c", script, str(tree), str(tmp_path / "cache"), start]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert not list((tmp_path / "cache").glob("*/unfinished-*"))


def test_caches_that_nobody_used_for_long_are_cleared(tree, tmp_path):
    _load(lambda: files_in_folder(tree), tmp_path)
    (old,) = (tmp_path / "cache").iterdir()
    os.utime(old / "index.json", (0, 0))
    other = tmp_path / "cache/somebody's notes"
    other.mkdir()
    os.utime(other, (0, 0))
    Image.new("L", (20, 20), 7).save(tree / "B/one/new.png")
    _load(lambda: files_in_folder(tree), tmp_path)
    assert not old.exists()
    assert other.exists()


def test_a_cache_that_is_used_stays(tree, tmp_path):
    _load(lambda: files_in_folder(tree), tmp_path)
    (cache,) = (tmp_path / "cache").iterdir()
    os.utime(cache / "index.json", (0, time.time() - 50 * 86_400))
    for _ in range(2):  # The first use makes it new.
        _load(lambda: files_in_folder(tree), tmp_path)
        assert time.time() - (cache / "index.json").stat().st_mtime < 3600
