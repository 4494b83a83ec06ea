"""Ending a training run from outside without losing what it has done."""

import contextlib
import signal
from collections.abc import Iterator

from absl import logging


class Interrupted(Exception):
    """SIGTERM or Ctrl-C ended a run after its state was saved.

    Attributes:
        exit_status: 128 + the signal's number, as shells have it.
    """

    def __init__(self, signal_number: int, where: str):
        super().__init__(f"stopped by {signal.Signals(signal_number).name} at {where}")
        self.exit_status = 128 + signal_number


@contextlib.contextmanager
def signals_noted(noted: list[int] | None = None) -> Iterator[list[int]]:
    """Notes SIGTERM and Ctrl-C instead of dying in the middle of a step; a second one ends the process at once.

    Args:
        noted: list to note them in, to which others may add.
    """
    noted = [] if noted is None else noted
    received: list[int] = []

    def note(number, _frame):
        if received:
            raise KeyboardInterrupt
        received.append(number)
        noted.append(number)
        logging.warning("%s: finishing this step and saving; again to stop at once", signal.Signals(number).name)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
