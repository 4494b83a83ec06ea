"""Ending a training run from outside without losing what it has done."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from absl import logging


class Interrupted(Exception):
    """A signal, or a reader of the output that went away, ended a run after its state was saved.

    Attributes:
        exit_status: 128 + the signal's number, as shells have it.
    """

    def __init__(self, signal_number: int, where: str):
        if signal_number == signal.SIGPIPE:
            text = f"stopped at {where}, since nothing takes its output any more"
        else:
            text = f"stopped by {signal.Signals(signal_number).name} at {where}"
        super().__init__(text)
        self.exit_status = 128 + signal_number


def in_main_thread() -> bool:
    """Whether this is the main thread, the only one that Python delivers signals to."""
    return threading.current_thread() is threading.main_thread()


def endings() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end.

    That of a closed terminal is one of them, unless it is ignored, as under nohup.
    """
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGINT, *hangup)


@contextlib.contextmanager
def signals_noted(noted: list[int] | None = None) -> Iterator[list[int]]:
    """Notes `endings` instead of dying within a meta-step; a second signal ends the process.

    Outside of the main thread, where Python hears no signals, they stay what they were.

    Args:
        noted: list to note them in, to which others may add.
    """
    noted = [] if noted is None else noted
    received: list[int] = []

    def note(number, _frame):
        # Whoever asks twice does not want to wait for a meta-step and a checkpoint.
        if received:
            raise KeyboardInterrupt
        received.append(number)
        noted.append(number)
        logging.warning(
            "%s: finishing this step and saving; again to stop at once", signal.Signals(number).name
        )

    # `signal.signal` raises ValueError in any other thread.
    heard = endings() if in_main_thread() else ()
    previous = {number: signal.signal(number, note) for number in heard}
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
