"""Errors that are the user's to mend."""

from collections.abc import Sequence


class UserError(Exception):
    """Something outside the program is wrong; the text says what, where and what to do.

    Entry points print it without a stack trace and end with `exit_status`.
    """

    exit_status = 1


class DataError(UserError):
    """Data that is missing or unusable."""


class RunError(UserError):
    """A run folder or checkpoint: missing, damaged, in use, or of another kind than asked for."""


def listing(names: Sequence[str], shown: int = 5) -> str:
    """The first few names of many, as a message has them."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
