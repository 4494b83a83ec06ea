"""What is said of a result's name before the work begins."""

import os

import pytest

from figr_common.output_files import problem


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("out.png", ""),
        ("OUT.PNG", ""),
        ("out.gif", "give it a name that ends in .png."),
        ("nowhere/out.png", "its folder does not exist. Make it first."),
        ("folder.png", "is a folder. Give the name of a file."),
    ],
)
def test_each_obstacle_has_its_sentence(tmp_path, name, sentence):
    (tmp_path / "folder.png").mkdir()
    path = str(tmp_path / name)
    assert problem(path, (".png",)) == (f"{path}: {sentence}" if sentence else "")


def test_a_folder_that_may_not_be_written_is_an_obstacle(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # The tests may run as root.
    assert "cannot be written to" in problem(str(tmp_path / "out"))
