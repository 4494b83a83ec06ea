"""Folders and zips: the same images by either route, and nothing outside them touched."""

import errno
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from figr_tf.core.errors import DataError
from figr_tf.data.image_trees import files_in_folder, files_in_zip
from tests.data.trees import load, write_tree


def _zip_tree(
    root: pathlib.Path, target: pathlib.Path, prefix: str = "", compression: int = 0
) -> pathlib.Path:
    with zipfile.ZipFile(target, "w", compression) as archive:
        for path in root.rglob("*.png"):
            archive.write(path, prefix + str(path.relative_to(root)))
    return target


def test_classes_are_leaf_folders_and_images_lie_class_by_class(tree, tmp_path):
    data = load(lambda: files_in_folder(tree), tmp_path)
    assert data.counts == {"A/one": 2, "A/two": 3, "B/one": 1}
    assert data.starts() == {"A/one": 0, "A/two": 2, "B/one": 5}
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], [20, 40, 60, 80, 100, 120])
    assert data.images.shape == (6, 16, 16, 1)


def test_a_zip_gives_what_its_folder_gives(tree, tmp_path):
    zipped = _zip_tree(tree, tmp_path / "t.zip", "top/")
    from_folder = load(lambda: files_in_folder(tree), tmp_path)
    from_zip = load(lambda: files_in_zip(zipped, root="top"), tmp_path)
    assert from_zip.counts == from_folder.counts
    np.testing.assert_array_equal(from_zip.images, from_folder.images)


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


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_a_damaged_member_is_skipped_and_the_rest_is_read(tree, tmp_path, caplog, compression):
    zipped = _zip_tree(tree, tmp_path / "t.zip", compression=compression)
    with zipfile.ZipFile(zipped) as archive:
        info = archive.infolist()[0]
    data = bytearray(zipped.read_bytes())
    data[info.header_offset + 60] ^= 0xFF
    zipped.write_bytes(data)
    assert sum(load(lambda: files_in_zip(zipped), tmp_path).counts.values()) == 5
    assert info.filename in caplog.text


def test_a_disk_that_fails_within_a_zip_is_not_blamed_on_the_cache(tree, tmp_path, monkeypatch):
    zipped = _zip_tree(tree, tmp_path / "t.zip")

    def fails(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fails)
    with pytest.raises(DataError, match=r"^\S*t\.zip: Input/output error"):
        load(lambda: files_in_zip(zipped), tmp_path)


def test_not_a_zip_is_one_line(tmp_path):
    (tmp_path / "t.zip").write_text("html error page")
    with pytest.raises(DataError, match=r"t.zip: not a readable zip"):
        list(files_in_zip(tmp_path / "t.zip"))


def test_no_images_at_all_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no usable image"):
        load(lambda: files_in_folder(tmp_path / "empty"), tmp_path)


def test_a_file_that_cannot_be_read_ends_the_loading_by_name_and_is_not_remembered(tree, tmp_path):
    link = tree / "A/one/link.png"
    link.symlink_to(tmp_path / "later.png")
    with pytest.raises(
        DataError, match=r"link\.png: No such file .*Make it readable, or remove it"
    ):
        load(lambda: files_in_folder(tree), tmp_path)
    (tmp_path / "later.png").write_bytes((tree / "A/one/0.png").read_bytes())
    assert load(lambda: files_in_folder(tree), tmp_path).counts["A/one"] == 3


@pytest.mark.parametrize("leftover", [".ipynb_checkpoints", "@eaDir", "__MACOSX", "A/one/.thumbs"])
def test_folders_that_programs_leave_behind_are_no_classes(tree, tmp_path, leftover):
    (tree / leftover).mkdir()
    shutil.copy(tree / "A/one/0.png", tree / leftover / "0.png")
    zipped = _zip_tree(tree, tmp_path / "t.zip")
    for list_files in (lambda: files_in_folder(tree), lambda: files_in_zip(zipped)):
        assert {file.class_name for file in list_files()} == {"A/one", "A/two", "B/one"}


def test_links_to_folders_are_followed_once_and_circles_end_in_a_warning(tree, tmp_path, caplog):
    store = write_tree(tmp_path / "store")
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
    assert load(lambda: files_in_folder(tree), tmp_path).counts["B/one"] == 3
    assert "8 of 9 images used; left out" in caplog.text
    assert "IMG_1.HEIC: not an image of a kind that can be read here" in caplog.text
