"""What commands that judge have in common: flags that list numbers, and files for the report."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import absl.flags

from figr_tf.core import console
from figr_tf.core.errors import UserError

absl.flags.disclaim_key_flags()  # They are those of the command, for its --help.


Number = TypeVar("Number", int, float)


class Report(Protocol):
    """What a judging command found."""

    def text(self) -> str:
        """The table as the terminal shows it, with a line on what it is about."""

    def to_markdown(self) -> str:
        """The table alone."""

    def numbers(self) -> dict[str, Any]:
        """All of it, with versions and hashes, in types that JSON has."""


class ReportFlags:
    """--json and --markdown."""

    def __init__(self, flags: console.OwnFlags):
        self._json = flags.DEFINE_path(
            "json", None, "Write all numbers here, with versions and hashes."
        )
        self._markdown = flags.DEFINE_path("markdown", None, "Write the table here.")

    def check(self) -> None:
        """Raises UserError for a place that cannot be written: now, not after the work."""
        for path in filter(None, (self._json.value, self._markdown.value)):
            console.check_output(path, suffixes=())

    def goes_to(self, path: pathlib.Path) -> bool:
        """Whether --json or --markdown would replace this file."""
        asked = filter(None, (self._json.value, self._markdown.value))
        return path.resolve() in {pathlib.Path(name).resolve() for name in asked}

    def write(self, report: Report) -> None:
        """Prints the report, and writes it where that is asked for."""
        print(report.text(), flush=True)
        if self._json.value:
            numbers = _without_nan(report.numbers())
            pathlib.Path(self._json.value).write_text(json.dumps(numbers, indent=1))
        if self._markdown.value:
            # The table holds ±, which the encoding of some locales lacks.
            pathlib.Path(self._markdown.value).write_text(
                report.to_markdown() + "\n", encoding="utf-8"
            )


def _without_nan(value: Any) -> Any:
    """null in the place of NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_without_nan, value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_names(flag: "absl.flags.FlagHolder[list[str]]", by_name: bool) -> list[str]:
    """The run folders, or shipped models, of a list flag, each once.

    Args:
        by_name: whether rows are named by the last part of the path, which then has to differ.

    Raises:
        UserError: none, or two of one name.
    """
    # A shell expands ~ at the beginning of a word alone, and not after a comma.
    expanded = [os.path.expanduser(name) for name in flag.value]
    # A run that is given twice would count twice in a mean over runs.
    given = {os.path.realpath(name): name for name in expanded if name}
    if not given:
        raise UserError(f"--{flag.name}: give at least one run folder.")
    last = [pathlib.Path(place).name for place in given]
    if by_name and len(set(last)) < len(last):
        raise UserError(
            f"--{flag.name}={','.join(flag.value)}: two folders have the same name, and so would"
            " their rows. Rename one."
        )
    return list(given.values())


def rising(
    flag: "absl.flags.FlagHolder[list[str]]",
    kind: Callable[[str], Number],
    least: float,
    wanted: str,
    may_be_empty: bool = False,
) -> list[Number]:
    """The numbers of a list flag, each once, in rising order.

    Args:
        kind: `int` or `float`.
        least: the smallest that is allowed.
        wanted: what the message of a refusal asks for, such as "whole numbers, 0 or more".

    Raises:
        UserError: something else than such numbers.
    """
    with contextlib.suppress(ValueError):
        values = sorted({kind(text) for text in flag.value})
        # False also of what float() takes for a number and is none: nan and inf.
        if all(least <= value < math.inf for value in values) and (values or may_be_empty):
            return values
    raise UserError(f"--{flag.name}={','.join(flag.value)}: give {wanted}.")
