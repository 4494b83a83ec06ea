"""Errors that are the user's to mend."""

import contextlib
from collections.abc import Iterator, Sequence


class UserError(Exception):
    """Something outside the program is wrong; the text says what, where and what to do.

    Entry points print it without a stack trace and end with `exit_status`.
    """

    exit_status = 1


class DataError(UserError):
    """Data that is missing or unusable."""


class RunError(UserError):
    """A run folder or checkpoint: missing, damaged, in use, or of another kind than asked for."""


@contextlib.contextmanager
def refusals_in_one_line() -> Iterator[None]:
    """For settings made of flags: they check themselves, and what they refuse is the user's."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error


def listing(names: Sequence[str], shown: int = 5) -> str:
    """The first few names of many, as a message has them."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
