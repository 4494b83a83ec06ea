"""Tables, plots and files of answers; commands that cannot work say so in a line."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from figr_common import answers, decks
from figr_common.answers import PERSON, STAND_IN, Answer, AnswersError
from figr_common.decks import REAL, ROUND
from serving import judge as command
from serving.judge_app import report
from serving.judge_app.games import Games

ANSWER = Answer("d", False, PERSON, "g", 0, "Greek/character01", "copies", "left", "left", 2.5)


def _given(source: str, right: int, count: int, player: str = PERSON, game: str = "g"):
    first = 1000 * (source != REAL)  # Another trial for each source.
    return [
        dataclasses.replace(
            ANSWER, source=source, trial=first + i, player=player, game=game,
            answer="left" if i < right else "right", seconds=None if player == STAND_IN else i,
        )
        for i in range(count)
    ]  # fmt: skip


def _file(path: pathlib.Path, given) -> pathlib.Path:
    path.write_text("".join(answer.line() for answer in given))
    return path


def test_an_answer_is_read_as_it_was_written(tmp_path):
    given = [ANSWER, dataclasses.replace(ANSWER, trial=3, seconds=None, player=STAND_IN)]
    assert answers.read(_file(tmp_path / "a.jsonl", given)) == given


def test_nothing_in_an_answer_says_who_or_when():
    fields = {"deck", "demonstration", "player", "game", "trial", "character", "source"}
    assert set(json.loads(ANSWER.line())) == fields | {"generated", "answer", "seconds"}


def test_people_and_stand_in_stand_side_by_side_with_exact_intervals():
    given = _given(REAL, 5, 10) + _given("copies", 10, 10)
    given += _given("copies", 0, 10, STAND_IN, "stand-in")
    lines = report.table(given).splitlines()
    # From the tables of Clopper and Pearson for ten trials.
    assert lines[2] == "| real held-out | 50 % [19, 81] of 10 | 4.5 s | – |"
    assert lines[3] == "| copies | 100 % [69, 100] of 10 | 4.5 s | 0 % [0, 31] of 10 |"
    assert "no people" in lines[0]
    assert "people played: 1." in lines[-1]


def test_a_file_given_twice_counts_once_and_files_of_several_people_add_up(tmp_path):
    first = _file(tmp_path / "1.jsonl", _given("copies", 3, 4))
    second = _file(tmp_path / "2.jsonl", _given("copies", 4, 4, game="h"))
    table = report.table(answers.merged(map(answers.read, (first, second, first))))
    assert "| copies | 88 % [47, 100] of 8 |" in table
    assert "people played: 2." in table


def test_a_demonstration_is_not_merged_with_characters_that_people_drew():
    other = dataclasses.replace(ANSWER, demonstration=True, game="h")
    with pytest.raises(AnswersError, match="one by one"):
        answers.merged([[ANSWER], [other]])


def test_the_plot_is_a_picture_with_a_line_for_each_source(tmp_path):
    given = _given(REAL, 5, 10) + _given("copies", 10, 10, STAND_IN)
    report.plot(given, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14)):  # People's and the stand-in's.
        assert (np.abs(pixels - colour).max(-1) < 10).sum() > 100


def test_the_power_table_says_how_many_games_that_is():
    lines = report.power_table(5, 20).splitlines()
    percent, answers_80, games_80, *_ = [cell.strip() for cell in lines[3].strip("|").split("|")]
    assert percent == "60 %"
    assert int(games_80) == -(-int(answers_80) // 4)


def test_games_broken_off_are_taken_up_from_their_file(deck, tmp_path):
    file = tmp_path / "a.jsonl"
    games = Games(deck, file)
    game = games.begin()
    for number in range(7):
        games.answer(game, number, "left", 1.0)
    foreign = dataclasses.replace(ANSWER, deck="another", game=game.name)
    again = Games(deck, file, [*answers.read(file), foreign])
    assert again.find(game.name).order == game.order
    assert again.find(game.name).answers == game.answers
    assert again.begin().order[0] // ROUND != game.order[0] // ROUND


@pytest.mark.parametrize("end", ["", "{", "\n"])
def test_an_answer_gets_a_line_of_its_own_whatever_the_file_ends_in(tmp_path, end):
    file = tmp_path / "a.jsonl"
    for number in range(2):
        answers.append(file, dataclasses.replace(ANSWER, trial=number))
    text = file.read_text()
    file.write_text(text[:-1] + end)
    answers.append(file, dataclasses.replace(ANSWER, trial=2, character="漢"))
    lines = file.read_text().splitlines()
    assert lines[2:] == [dataclasses.replace(ANSWER, trial=2, character="漢").line()[:-1]]
    assert file.read_text().endswith("\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no JSON", "line 1 is no answer"),
        ("[]", "line 1 is no answer (not a JSON object)"),
        (ANSWER.line() + "{}", "line 2 is no answer (it has no 'deck')"),
        (ANSWER.line().replace('"left"', '"up"'), "its generated is not what it should be"),
        (ANSWER.line().replace("2.5", "NaN"), "its seconds is not"),
        (ANSWER.line().replace('"g"', "7"), "deck, game, character or source"),
        ("\x00\xff", "not text in UTF-8"),
        ("", "no answers in it"),
    ],
)
def test_a_bad_file_of_answers_is_one_line(tmp_path, text, says):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(command.UserError) as refused:
        command._report([str(path)], None)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def _damaged(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def _without(name: str):
    def leave_out(path: pathlib.Path) -> None:
        arrays = dict(np.load(path))
        arrays.pop(name)
        np.savez(path, **arrays)

    return leave_out


def _with(**changes):
    def change(path: pathlib.Path) -> None:
        np.savez(path, **(dict(np.load(path)) | changes))

    return change


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text("no deck"), "not a deck"),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "not a deck"),
        (_damaged, "not a deck"),
        (_without("answers"), "it has no answers"),
        (_with(facts=np.array("{}")), "its format is None"),
        (_with(facts=np.array("7")), "not a deck"),
        (_with(answers=np.full(40, 2, np.uint8)), "neither left (0) nor right (1)"),
        (_with(answers=np.zeros(39, np.uint8)), "answers has the shape [39]"),
        (_with(sources=np.array(["x"] * 40)), "say nothing about 'x'"),
        (_with(support=np.zeros((40, 4, 16, 16), np.float32)), "of the type uint8"),
        (_with(support=np.zeros((40, 4, 8, 8), np.uint8)), "not squares of one size"),
        (_with(sources=np.array([{}] * 40, object)), "not a deck"),
    ],
)
def test_a_bad_deck_is_one_line(deck_file, tmp_path, spoil, says):
    path = pathlib.Path(shutil.copy(deck_file, tmp_path))
    spoil(path)
    with pytest.raises(decks.DeckError) as refused:
        decks.read(path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
