"""Progress on the terminal: a bar where somebody looks on, plain lines in a log."""

import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import tqdm

T = TypeVar("T")

# Seconds between plain lines: a log of days should stay readable.
_PLAIN_INTERVAL = 60.0


def track(items: Sequence[T], label: str, unit: str) -> Iterator[T]:
    """Yields the items and shows progress: a bar on a terminal, elsewhere a line a minute."""
    start = printed = time.monotonic()
    # disable=None shows a bar on terminals alone.
    bar = tqdm.tqdm(items, desc=label, unit=f" {unit}", disable=None, leave=False)
    for done, item in enumerate(bar):
        now = time.monotonic()
        if bar.disable and now - printed > _PLAIN_INTERVAL:
            printed = now
            eta = datetime.timedelta(seconds=round((now - start) / done * (len(items) - done)))
            print(f"{label}: {done}/{len(items)} {unit}  ETA {eta}", flush=True)
        yield item


class Progress:
    """Meta-steps taken, rate and time left: a bar on a terminal, plain lines elsewhere.

    Attributes:
        is_seen: False once the terminal, or whatever reads in its place, has gone.
    """

    def __init__(self, start: int, total: int, metric_labels: Mapping[str, str]):
        """metric_labels: name of each metric to show → what to call it."""
        self._labels = metric_labels
        self._bar = tqdm.tqdm(
            initial=start, total=total, unit=" meta-steps", disable=None, dynamic_ncols=True
        )
        self._meta_step, self._total = start, total
        self._window: tuple[int, float] | None = None  # Since which the rate is taken.
        self._printed = time.monotonic()
        self._shown: dict[str, Any] = {}
        self.is_seen = True

    def count_meta_steps(self, times: int) -> None:
        """Counts the meta-steps of one call as taken."""
        self._meta_step += times
        # The first call holds the compilation and says nothing about the rate.
        if self._window is None:
            self._window = (self._meta_step, time.monotonic())

    def meta_steps_per_second(self) -> float | None:
        """Rate since the last call; None until a step has been taken after the first."""
        now = time.monotonic()
        if self._window is None or self._window[0] == self._meta_step:
            return None
        (taken, then), self._window = self._window, (self._meta_step, now)
        # Two calls may fall into one tick of a coarse clock.
        return (self._meta_step - taken) / max(now - then, 1e-9)

    def show(self, line: dict[str, Any] | None) -> None:
        """Brings the terminal up to date; `line` holds new metrics, if there are any."""
        self._shown = line or self._shown
        if not self._bar.disable:
            if line:
                self._bar.set_postfix_str(self._summary(), refresh=False)
            self._write(lambda: self._bar.update(self._meta_step - self._bar.n))
        elif line or time.monotonic() - self._printed > _PLAIN_INTERVAL:
            self._printed = time.monotonic()
            text = f"{self._summary()}  {self._rate_and_eta()}"
            self._write(
                lambda: print(f"meta-step {self._meta_step}/{self._total}  {text}", flush=True)
            )

    def note(self, text: str) -> None:
        """Prints a line about held-out tasks, above the bar."""
        self._write(lambda: self._bar.write(f"meta-step {self._meta_step}: held-out {text}"))

    def _write(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError:  # Its reader has gone. Whoever trains decides what follows from that.
            self.is_seen = False

    def _summary(self) -> str:
        parts = [
            f"{label} {self._shown[name]:.3g}"
            for name, label in self._labels.items()
            if self._shown.get(name) is not None
        ]
        if self._shown.get("num_skipped"):
            parts.append(f"skipped {self._shown['num_skipped']:.0f}")
        return "  ".join(parts)

    def _rate_and_eta(self) -> str:
        rate = self._shown.get("meta_steps_per_second")
        if not rate:
            return ""
        eta = datetime.timedelta(seconds=round((self._total - self._meta_step) / rate))
        return f"{rate:.3g} meta-steps/s  ETA {eta}"

    def close(self) -> None:
        """Leaves the bar as it is and the terminal to whoever comes next."""
        self._write(self._bar.close)
