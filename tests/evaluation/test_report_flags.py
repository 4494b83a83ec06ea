"""Flags of commands that judge."""

import json
import math

import pytest

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.evaluation.report_flags import ReportFlags, rising, run_names


class _Report:
    def text(self):
        return "about\n\n| a | b |"

    def to_markdown(self):
        return "| 1.0 ± 0.5 |"

    def numbers(self):
        return {"rows": [1.0]}


def _runs(flags: console.OwnFlags):
    return flags.DEFINE_list("run", None, "Runs.", required=True)


def _parsed(make, *arguments):
    """What `make` defines, with these arguments of a command line."""
    flags = console.OwnFlags("a command that is imported")
    made = make(flags)
    flags.FLAGS(["command", *arguments])
    return made


def _listed(text):
    return _parsed(lambda flags: flags.DEFINE_list("k", [], "Numbers."), f"--k={text}")


def test_a_list_of_numbers_comes_once_each_and_rising():
    assert rising(_listed("20,1,5,1"), int, 1, "whole numbers") == [1, 5, 20]
    assert rising(_listed("1e-3,0.1"), float, 0, "rates") == [0.001, 0.1]
    assert rising(_listed(""), float, 0, "rates", may_be_empty=True) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1,x", int), ("0", int), ("1.5", int), ("nan", float), ("inf", float), ("", int)],
)
def test_what_is_no_such_number_is_refused_with_what_was_given(text, kind):
    with pytest.raises(UserError, match=rf"--k={text}: give numbers from 1 on\."):
        rising(_listed(text), kind, 1, "numbers from 1 on")


def test_json_has_null_for_what_is_no_number_and_a_report_knows_what_it_would_replace(tmp_path):
    class Nothing:
        text = to_markdown = staticmethod(lambda: "")

        def numbers(self):
            return {"rows": [{"mean": math.nan}, (1.5, -math.inf)], "name": "nan"}

    flags = console.OwnFlags(__name__)
    report = ReportFlags(flags)
    flags.FLAGS(["program", f"--json={tmp_path / 'a.json'}"])
    assert report.goes_to(tmp_path / "b/../a.json")
    assert not report.goes_to(tmp_path / "b.json")
    report.write(Nothing())
    expected = {"rows": [{"mean": None}, [1.5, None]], "name": "nan"}
    assert json.loads((tmp_path / "a.json").read_text()) == expected


def test_runs_come_once_each_and_with_the_home_folder_in_their_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    flag = _parsed(_runs, "--run=a/run,~/b,a/../a/run/,./a/run")
    assert len(run_names(flag, by_name=True)) == 2
    assert run_names(flag, by_name=True)[1] == "/home/me/b"


@pytest.mark.parametrize(
    ("given", "said"), [("--run=", "at least one"), ("--run=a/x,b/x", "have the same name")]
)
def test_no_run_and_two_of_one_name_are_refused(given, said):
    with pytest.raises(UserError, match=said):
        run_names(_parsed(_runs, given), by_name=True)


def test_two_runs_of_one_name_may_stand_where_rows_have_whole_paths():
    assert run_names(_parsed(_runs, "--run=a/x,b/x"), by_name=False) == ["a/x", "b/x"]


def test_a_report_is_printed_and_written_where_it_is_asked_for(tmp_path, capsys):
    files = [tmp_path / "out.json", tmp_path / "out.md"]
    asked = [f"--json={files[0]}", f"--markdown={files[1]}"]
    flags = _parsed(ReportFlags, *asked)
    flags.check()
    flags.write(_Report())
    assert capsys.readouterr().out == "about\n\n| a | b |\n"
    assert files[0].read_text() == '{\n "rows": [\n  1.0\n ]\n}'
    assert files[1].read_text(encoding="utf-8") == "| 1.0 ± 0.5 |\n"


def test_a_place_that_is_not_there_is_refused_before_the_work():
    flags = _parsed(ReportFlags, "--markdown=nowhere/out.md")
    with pytest.raises(UserError, match=r"nowhere/out\.md: its folder does not exist"):
        flags.check()
