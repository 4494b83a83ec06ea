"""`python -m serving.judge` as a user types it."""

import json
import signal
import subprocess
import sys
import urllib.request

import psutil
import pytest

from figr_common import decks
from serving import judge
from tests.conftest import ROOT
from tests.serving import processes
from tests.serving.demo.conftest import start_demo
from tests.serving.judge.test_report import _file, _given

pytestmark = pytest.mark.whole


def _run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "serving.judge", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=processes.START_TIMEOUT,
    )


def test_without_any_data_there_is_a_game_of_glyphs_that_says_so_and_tensorflow_is_not_loaded(
    tmp_path,
):
    file = tmp_path / "answers.jsonl"
    with start_demo(f"--answers={file}", module="serving.judge") as started:

        def ask(path: str, body: dict | None = None) -> dict:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"{started.url}{path}", data)
            with urllib.request.urlopen(request, timeout=processes.START_TIMEOUT) as reply:
                return json.load(reply)

        told = ask("api/deck")
        assert told["demonstration"]
        assert "glyphs" in told["data"]
        assert told["file"] == str(file)
        game = ask("api/games", {})["game"]
        trial = ask(f"api/games/{game}")["trial"]
        assert [len(trial[part]) for part in ("support", "left", "right")] == [4, 8, 8]
        ask(f"api/games/{game}/answers", {"number": 0, "side": "left", "seconds": 2})
        assert len(file.read_text().splitlines()) == 1
        loaded = psutil.Process(started.process.pid).memory_maps()
        assert not any("libtensorflow" in mapped.path for mapped in loaded)
        started.process.send_signal(signal.SIGTERM)
        output, _ = started.process.communicate(timeout=processes.PATIENCE)
        assert started.process.returncode == 0
        assert output == ""


def test_the_deck_that_ships_is_balanced_and_has_every_source():
    deck = decks.read(judge.GLYPHS)
    sources = ["real held-out", "omniglot-32", "omniglot-32-redraw", "small affine", "copies"]
    assert sorted(set(deck.sources.tolist())) == sorted(sources)
    assert len(set(deck.classes.tolist())) == len(deck.classes)
    for first in range(0, len(deck.sources), decks.ROUND):
        round_ = slice(first, first + decks.ROUND)
        for source in sources:
            sides = deck.answers[round_][deck.sources[round_] == source]
            assert sorted(sides.tolist()) == [0, 0, 1, 1]


def test_files_of_several_people_become_a_table_and_a_plot(tmp_path):
    files = [_file(tmp_path / f"{game}.jsonl", _given("copies", 3, 4, game=game)) for game in "ab"]
    done = _run("--report", *files, "--plot", tmp_path / "plot.png")
    assert done.returncode == 0, done.stderr
    assert "| copies | 75 % [35, 97] of 8 |" in done.stdout
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_a_demonstration_is_not_played_into_the_answers_to_a_real_deck(tmp_path):
    file = _file(tmp_path / "a.jsonl", _given("copies", 3, 4))
    done = _run("--port=0", f"--answers={file}")
    assert done.returncode == 1
    assert "a.jsonl: holds answers to a deck of drawings by people's hands" in done.stderr
    assert done.stderr.endswith("Name another file.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--deck=nowhere.npz"], "nowhere.npz: cannot be read"),
        (["stray.jsonl"], "files of answers go with --report"),
        (["--report=nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["--answers=nowhere/a.jsonl"], "nowhere/a.jsonl: No such file or directory"),
    ],
)
def test_what_cannot_work_is_one_line(arguments, says):
    done = _run("--port=0", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
