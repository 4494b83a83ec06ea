"""Output that cannot be written is no reason for a traceback, nor to lose any work."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

BROKEN_PIPE = 128 + signal.SIGPIPE  # Exit status where whoever read the output has gone: `| head`.


@contextlib.contextmanager
def tolerated() -> Iterator[None]:
    """Around a command.

    Closed standard streams lead nowhere, characters that a terminal does not have come out as "?",
    and a reader that goes away ends the command without a word.
    """
    _open_closed_streams()
    with contextlib.suppress(AttributeError):  # A host may have put another object there.
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        yield
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    finally:
        _let_go_of_output()


def say(text: str) -> bool:
    """Prints a line at once, on stderr if stdout does not take it; False if it had to."""
    try:
        print(text, flush=True)
        return True
    except OSError:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)
        return False


def failing() -> str:
    """The name of standard output if it takes no more, otherwise "" and an empty line there.

    Asked by who has an error without a file's name: Python forgets what it could not write, so that
    only another try tells.
    """
    try:
        print(flush=True)
    except OSError:
        return "standard output"
    return ""


def _open_closed_streams() -> None:
    """Also since the next file to be opened would get a closed stream's number, and its output."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def _let_go_of_output() -> None:
    """Python would complain of what it cannot write at its end, and give another exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
