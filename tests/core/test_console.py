"""What is shown where there is no terminal, and how flags are read."""

import itertools
import os
import subprocess
import sys

import pytest

from exporters import export_saved_model
from figr_tf import (
    classify,
    evaluate,
    evaluate_classifier,
    generate,
    gradient_sums,
    package,
    train,
    train_classifier,
    train_warp,
)
from figr_tf.core import console, progress
from figr_tf.sine import __main__ as sine
from serving import demo, judge, server
from tests.conftest import ROOT

COMMANDS = [
    *(train, train_classifier, train_warp, sine, gradient_sums, generate, classify, package),
    *(evaluate, evaluate_classifier, export_saved_model, demo, judge, server),
]
# Flags that name a file or a folder, whichever command has them.
PATHS = (
    *("run", "runs_dir", "data_dir", "cache_dir", "out", "images", "query", "npz", "gif", "json"),
    *("markdown", "picture", "samples", "episodes", "write_episodes", "saved_model", "write_deck"),
    *("export_dir", "evaluation", "model_base_path", "deck"),
)
# Taken apart, and expanded, where they are used.
LISTED = {(classify, "images"), (evaluate_classifier, "run")}


def test_without_a_terminal_there_is_a_plain_line_a_minute_with_the_time_left(capsys, monkeypatch):
    clock = itertools.count(0, 25.0)  # each look at the clock finds it 25 seconds on
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.track(list("abcdefgh"), "adapting", "classes")) == list("abcdefgh")
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["adapting: 2/8 classes  ETA 0:03:45", "adapting: 5/8 classes  ETA 0:01:30"]


def test_progress_leaves_the_first_step_out_of_the_rate(capsys, monkeypatch):
    """It holds the compilation."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = progress.Progress(0, 10, {"discriminator_loss": "D"})
    for seconds in (100.0, 2.0, 2.0):
        now[0] += seconds
        shown.count_meta_steps(1)
    assert shown.meta_steps_per_second() == 0.5
    shown.show(
        {"meta_step": 3, "meta_steps_per_second": 0.5, "discriminator_loss": 1.0, "num_skipped": 2}
    )
    assert (
        capsys.readouterr().out == "meta-step 3/10  D 1  skipped 2  0.5 meta-steps/s  ETA 0:00:14\n"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda module: module.__name__)
def test_a_tilde_is_the_home_folder_in_every_path_flag(command, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    own = command.flags.FLAGS
    given = [name for name in PATHS if name in own and (command, name) not in LISTED]
    assert given
    for name in given:
        assert own[name].parser.parse("~/x") == "/home/somebody/x", name


def test_without_a_home_folder_a_tilde_is_refused_and_other_paths_are_taken(monkeypatch):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    parser = train.flags.FLAGS["cache_dir"].parser
    assert parser.parse("cache") == "cache"
    with pytest.raises(ValueError, match="give the path in full"):
        parser.parse("~/cache")


def test_without_a_home_folder_keras_makes_none_in_the_working_folder(monkeypatch):
    """It would write ./~/.keras/keras.json."""
    monkeypatch.setenv("KERAS_HOME", "")  # So that what comes is taken back afterwards.
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with console.banner_held_back():
        assert os.path.isabs(os.environ["KERAS_HOME"])


def _read(folder, text: bytes):
    """What a command makes of a flagfile; prints its one flag."""
    (folder / "own.flags").write_bytes(text)
    script = (
        "from absl import flags; from figr_tf.core import console;"
        "hidden = flags.DEFINE_integer('hidden', 1, 'h');"
        "console.run(lambda: print(hidden.value))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, f"--flagfile={folder / 'own.flags'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("first", ["--hidden=7", "# A comment.\n--hidden=7", "\n--hidden=7"])
def test_a_flagfile_may_begin_with_a_byte_order_mark(first, tmp_path):
    result = _read(tmp_path, first.encode("utf-8-sig"))
    assert (result.stdout, result.stderr) == ("7\n", "")


def test_a_flagfile_in_another_encoding_is_one_line(tmp_path):
    result = _read(tmp_path, "--hidden=7".encode("utf-16"))
    assert result.returncode == 1
    assert result.stderr == "error: --flagfile: not UTF-8. Save the file in that encoding.\n"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        *((f"figr_tf.{name}", "--seed") for name in ("train", "train_classifier", "generate")),
        *(("figr_tf.launch", "--workers"), ("serving.client", "generate"), ("serving.demo", "--")),
    ],
)
def test_help_needs_no_docstrings(command, text):
    result = subprocess.run(
        [sys.executable, "-OO", "-m", command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert text in result.stdout
    assert result.stderr == ""


@pytest.mark.slow  # Python compiles all of TensorFlow anew.
def test_a_training_needs_neither_docstrings_nor_assertions(tmp_path):
    command = [sys.executable, "-OO", "-m", "figr_tf.sine", "--num_meta_steps=2"]
    places = [f"--out={tmp_path / 'out.png'}", f"--run={tmp_path / 'run'}"]
    result = subprocess.run([*command, *places], cwd=ROOT, capture_output=True, timeout=900)
    assert (result.returncode, result.stderr) == (0, b"")
    assert (tmp_path / "out.png").exists()
