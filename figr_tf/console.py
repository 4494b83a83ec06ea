"""What the entry points show on a terminal: one-line errors, and TensorFlow's start without its banner."""

import contextlib
import ctypes
import datetime
import logging as standard_logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import tqdm
from absl import app, logging

from figr_tf.errors import UserError
from figr_tf.interruption import Interrupted

T = TypeVar("T")


class PlainFormatter(standard_logging.Formatter):
    """Warnings as sentences, without the date, thread and source line that absl puts in front."""

    def format(self, record: standard_logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.getMessage()}"


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_PLAIN_INTERVAL = 60.0  # seconds between plain lines when one step takes long


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main`, turns a UserError into one line on stderr and status 1.

    An Interrupted becomes its own status.
    """

    def guarded(argv: list[str]) -> None:
        logging.use_absl_handler()
        logging.get_absl_handler().setFormatter(PlainFormatter())
        logging.set_verbosity(logging.WARNING)
        try:
            if len(argv) > 1:
                raise UserError(f"unexpected argument {argv[1]!r}; every setting is a --flag=value, see --help")
            main()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_status)
        except Interrupted as stop:
            print(f"{stop}; the same command continues from there", flush=True)
            sys.exit(stop.exit_status)
        except OSError as error:  # a folder that cannot be written, a full disk
            sys.exit(f"error: {error.filename or ''}: {error.strerror or error}")
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)

    app.run(guarded)


@contextlib.contextmanager
def banner_held_back() -> Iterator[None]:
    """For the import and the start of TensorFlow: keeps its unconditional lines off the terminal.

    Each operation gets one CPU thread, and as many run at once as there are cores: an inner step is thousands of small
    operations, most of them independent of each other. TF_NUM_INTRAOP_THREADS in the environment overrides it.

    The lines come from C++ before any log level applies, hence the detour over the file descriptor; they are shown if
    the start fails.
    """
    backend = os.environ["KERAS_BACKEND"]
    if backend != "tensorflow":
        raise UserError(f"figr_tf needs Keras on TensorFlow. Received: KERAS_BACKEND={backend}; unset it.")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as banner:
        os.dup2(banner.fileno(), 2)
        try:
            yield
        except BaseException:
            banner.seek(0)
            os.write(terminal, banner.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def reuse_freed_memory() -> None:
    """Makes C's allocator keep what TensorFlow frees; for programs that do the same thing over and over.

    By default glibc hands large blocks back to Linux at once and gets them anew, page by page: with h = 64, whose
    weights take 311 MB, 2.7 million page faults in one adaptation, a sixth of its time.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def start_tensorflow() -> str:
    """Imports and starts TensorFlow without its banner, and names the device in use."""
    with banner_held_back():
        import tensorflow as tf

        devices = tf.config.list_logical_devices()
    gpus = [device for device in devices if device.device_type == "GPU"]
    if not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0]).get("device_name"))


def track(items: Sequence[T], label: str, unit: str) -> Iterator[T]:
    """Yields the items and shows how far it has come: a bar on a terminal, a plain line a minute elsewhere."""
    start = printed = time.monotonic()
    bar = tqdm.tqdm(items, desc=label, unit=f" {unit}", disable=None, leave=False)
    for done, item in enumerate(bar):
        now = time.monotonic()
        if bar.disable and now - printed > _PLAIN_INTERVAL:
            printed = now
            eta = datetime.timedelta(seconds=round((now - start) / done * (len(items) - done)))
            print(f"{label}: {done}/{len(items)} {unit}  ETA {eta}", flush=True)
        yield item


class Progress:
    """Meta-steps taken, rate and time left: a bar on a terminal, plain lines elsewhere."""

    def __init__(self, start: int, total: int):
        self._bar = tqdm.tqdm(initial=start, total=total, unit=" meta-steps", disable=None, dynamic_ncols=True)
        self._step, self._total = start, total
        self._window: tuple[int, float] | None = None  # step and time since which the rate is taken
        self._printed = time.monotonic()
        self._shown: dict[str, Any] = {}

    def count_steps(self, times: int) -> None:
        """Counts the meta-steps of one call as taken."""
        self._step += times
        if self._window is None:  # the first call holds the compilation and says nothing about the rate
            self._window = (self._step, time.monotonic())

    def steps_per_second(self) -> float | None:
        """Rate since the last call; None until a step has been taken after the first."""
        now = time.monotonic()
        if self._window is None or self._window[0] == self._step:
            return None
        (step, then), self._window = self._window, (self._step, now)
        return (self._step - step) / max(now - then, 1e-9)

    def show(self, line: dict[str, Any] | None) -> None:
        """Brings the terminal up to date; `line` holds new metrics, if there are any."""
        self._shown = line or self._shown
        if not self._bar.disable:
            if line:
                self._bar.set_postfix_str(self._summary(), refresh=False)
            self._bar.update(self._step - self._bar.n)
        elif line or time.monotonic() - self._printed > _PLAIN_INTERVAL:
            self._printed = time.monotonic()
            print(f"meta-step {self._step}/{self._total}  {self._summary()}  {self._rate_and_eta()}", flush=True)

    def _summary(self) -> str:
        names = {"discriminator_loss": "D", "generator_loss": "G", "gradient_penalty": "penalty"}
        parts = [f"{short} {self._shown[key]:.3g}" for key, short in names.items() if self._shown.get(key) is not None]
        if self._shown.get("num_skipped"):
            parts.append(f"skipped {self._shown['num_skipped']:.0f}")
        return "  ".join(parts)

    def _rate_and_eta(self) -> str:
        rate = self._shown.get("meta_steps_per_second")
        if not rate:
            return ""
        eta = datetime.timedelta(seconds=round((self._total - self._step) / rate))
        return f"{rate:.3g} meta-steps/s  ETA {eta}"

    def close(self) -> None:
        self._bar.close()
