"""Bounded concurrency: so many requests run, so many wait, the rest are turned away at once."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from serving.errors import ServingError


def always() -> bool:
    """True: the `wanted` of callers that nobody watches."""
    return True


class Admission:
    """A door with a queue, for any number of threads.

    Args:
        max_running: requests inside at once, at least 1.
        max_queued: requests that wait; one more is turned away at once.
    """

    def __init__(self, max_running: int, max_queued: int):
        self._max_running = max_running
        self._max_queued = max_queued
        self._changed = threading.Condition()
        self._running = 0
        self._queued = 0
        self._closed = False

    @contextlib.contextmanager
    def place(self, deadline: float, wanted: Callable[[], bool] = always) -> Iterator[None]:
        """One of the running places, waited for until `deadline` (of `time.monotonic`).

        Args:
            wanted: whether somebody still waits for the answer; looked at again after `look_again`.

        Raises:
            ServingError: RESOURCE_EXHAUSTED if the queue is full, DEADLINE_EXCEEDED, UNAVAILABLE
                after `close`, CANCELLED for what is not wanted any more.
        """
        self._enter(deadline, wanted)
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                # All of them: one alone might be a caller who has gone, and the place would stay
                # empty.
                self._changed.notify_all()

    def _enter(self, deadline: float, wanted: Callable[[], bool]) -> None:
        with self._changed:
            if self._closed:
                raise ServingError("UNAVAILABLE", "the server is stopping")
            # The sum of both, since places that are free may still be on their way to those who
            # wait.
            if self._running + self._queued >= self._max_running + self._max_queued:
                waiting = f"{self._running} requests run and {self._queued} wait"
                raise ServingError(
                    "RESOURCE_EXHAUSTED",
                    f"the server is full: {waiting}. Try again later.",
                )
            # Counted as waiting from here, so that others see the queue as it is.
            self._queued += 1
            try:
                free = self._changed.wait_for(
                    lambda: self._running < self._max_running or not wanted(),
                    max(0.0, deadline - time.monotonic()),
                )
            finally:
                self._queued -= 1
            # First: a caller who has gone gets no other answer, and takes no place.
            if not wanted():
                raise ServingError(
                    "CANCELLED",
                    "the caller went away while the request was waiting",
                )
            if not free:
                raise ServingError(
                    "DEADLINE_EXCEEDED",
                    "the deadline passed while the request was waiting",
                )
            self._running += 1

    def look_again(self) -> None:
        """Whoever waits finds out whether they are still wanted."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Turns away what comes from now on; what waits or runs goes on."""
        with self._changed:
            self._closed = True

    def wait_until_idle(self, seconds: float) -> bool:
        """Whether nothing runs or waits any more, at the latest after so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running + self._queued == 0, seconds)
