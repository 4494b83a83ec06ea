"""Standard output that is closed, full, not read to its end, or of few characters."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# As every entry point does it, without what they import.
PLAIN = """
import sys
from figr_common import streams
with streams.tolerated():
    {body}
"""
COMMAND = """
from figr_tf.core import console
def main():
    {body}
console.run(main)
"""


def _run(script: str, body: str, redirection: str = "", **environment: str):
    code = script.replace("{body}", body)
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("script", [PLAIN, COMMAND])
def test_closed_streams_lead_nowhere_and_not_into_the_next_file(script, tmp_path):
    body = f"file = open({str(tmp_path / 'out')!r}, 'w'); print('lost'); file.write('kept')"
    result = _run(script, body, "<&- >&- 2>&-")
    assert result.returncode == 0
    assert (tmp_path / "out").read_text() == "kept"


@pytest.mark.parametrize("script", [PLAIN, COMMAND])
def test_characters_that_a_terminal_does_not_have_are_question_marks(script):
    result = _run(script, "print('16×16, λ=10')", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"16?16, ?=10\n", b"")


@pytest.mark.parametrize("script", [PLAIN, COMMAND])
def test_a_reader_that_goes_away_ends_a_command_without_a_word(script):
    reading, writing = os.pipe()
    os.close(reading)
    code = script.replace("{body}", "print('x' * 100_000, flush=True)")
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=60
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("flushed", [True, False])
def test_output_onto_a_full_disk_is_an_error_in_one_line(flushed):
    result = _run(COMMAND, f"print('lost', flush={flushed})", "> /dev/full")
    assert result.returncode == 1
    assert result.stderr == b"error: standard output: No space left on device\n"
