"""The terminal of the entry points: flags, one-line errors, TensorFlow's start."""

import contextlib
import ctypes
import functools
import logging as standard_logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags, logging

from figr_common import output_files, streams
from figr_tf.core.errors import UserError
from figr_tf.core.interruption import Interrupted


class PlainFormatter(standard_logging.Formatter):
    """Warnings as sentences, without the date, thread and source line that absl puts in front."""

    def format(self, record: standard_logging.LogRecord) -> str:
        """The line of one record, such as "warning: the disk is nearly full"."""
        return f"{record.levelname.lower()}: {record.getMessage()}"


class OwnFlags:
    """absl's `flags` for one entry point: `flags = console.OwnFlags(__name__)`.

    The module that runs as the program defines the flags of the process, for --help and --flagfile.
    One that is imported gets a set of its own, `FLAGS`: absl refuses a second flag of the same
    name, and the program that imports it may well have a --seed too.
    """

    def __init__(self, module_name: str):
        self.FLAGS = flags.FLAGS if module_name == "__main__" else flags.FlagValues()

    def __getattr__(self, name: str) -> Any:
        """DEFINE_string and its like."""
        return functools.partial(getattr(flags, name), flag_values=self.FLAGS)

    @property
    def DEFINE_path(self) -> Callable[..., Any]:
        """For the name of a file or folder, in which ~ stands for the home folder."""
        serializer: flags.ArgumentSerializer = flags.ArgumentSerializer()
        return functools.partial(
            flags.DEFINE, _PathParser(), serializer=serializer, flag_values=self.FLAGS
        )


class _PathParser(flags.ArgumentParser):
    """Most shells leave the ~ of --flag=~/folder alone, so it is expanded here."""

    def parse(self, argument: str) -> str:
        path = os.path.expanduser(argument)
        if path.startswith("~"):
            raise ValueError("~ stands for a home folder, and there is none; give the path in full")
        return path


# Packages that some commands need and requirements.txt does not have → the extra that has them.
_EXTRAS = {"aiohttp": "serving", "tensorflow_serving": "serving", "resvg_py": "icons"}
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # Of malloc.h.


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main`, turns a UserError into one line on stderr and status 1.

    An Interrupted becomes its own status.
    """

    def without_names(names: list[str]) -> None:
        if names:
            raise UserError(
                f"unexpected argument {names[0]!r}; every setting is a --flag=value, see --help"
            )
        main()

    run_with_names(without_names)


def run_with_names(main: Callable[[list[str]], None]) -> None:
    """As `run`, for a command that takes names besides its flags: what they are, `main` says."""

    def guarded(argv: list[str]) -> None:
        logging.use_absl_handler()
        logging.get_absl_handler().setFormatter(PlainFormatter())
        logging.set_verbosity(logging.WARNING)
        try:
            main(argv[1:])
            sys.stdout.flush()  # Here, where a full disk behind it is still an error to report.
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_status)
        except Interrupted as stop:
            streams.say(f"{stop}; the same command continues from there")
            sys.exit(stop.exit_status)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = _EXTRAS.get(package)
            if extra is None:
                raise
            place = f"pip install 'figr_tf[{extra}]', or in a checkout pip install -e '.[{extra}]'"
            sys.exit(f"error: {package} is not installed; the extra {extra!r} has it: {place}")
        except BrokenPipeError:  # An OSError, but no file's: `streams.tolerated` deals with it.
            raise
        except OSError as error:  # A folder that cannot be written, a full disk.
            place = error.filename or streams.failing()
            sys.exit(f"error: {f'{place}: ' if place else ''}{error.strerror or error}")
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)

    with streams.tolerated():
        app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: list[str]) -> list[str]:
    """absl's own, for flagfiles with a byte-order mark, too, as Windows' editors leave one."""
    try:
        program, *arguments = flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
    except UnicodeDecodeError:
        sys.exit("error: --flagfile: not UTF-8. Save the file in that encoding.")
    except flags.Error as error:
        sys.exit(f"error: --flagfile: {error}")
    # The mark hides the # of a first line that is a comment, so absl took it for an argument.
    unmarked = [argument.removeprefix("\ufeff") for argument in arguments]
    given = [a for a, raw in zip(unmarked, arguments, strict=True) if a == raw or _is_setting(a)]
    return app.parse_flags_with_usage([program, *given])


def _is_setting(line: str) -> bool:
    """Whether a flagfile's line is more than a comment or blank."""
    return bool(line) and not line.startswith(("#", "//"))


@contextlib.contextmanager
def banner_held_back() -> Iterator[None]:
    """For the import and the start of TensorFlow: keeps its unconditional lines off the terminal.

    Each operation gets one CPU thread, and as many run at once as there are cores: an inner step is
    thousands of small operations, most of them independent of each other. TF_NUM_INTRAOP_THREADS in
    the environment overrides it.

    The lines come from C++ before any log level applies, hence the detour over the file descriptor;
    they are shown if the start fails.
    """
    # Keras reads it once, when it is first imported.
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError(
            f"figr_tf needs Keras on TensorFlow. Received: KERAS_BACKEND={backend}; unset it."
        )
    if os.path.expanduser("~") == "~":  # No home: Keras would make a folder of that name here.
        os.environ.setdefault("KERAS_HOME", os.path.join(tempfile.gettempdir(), ".keras"))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    # TensorFlow's C++ log would bury the one line that a user needs to read; what matters in it is
    # raised as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # From here on everything that is written to the terminal goes to a file.
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


def num_cores() -> int:
    """CPU cores that this process may use."""
    # Where the system can say so (Linux), `taskset` and a container's list of cores count.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def limit_operations_at_once(num_chains: int = 1) -> None:
    """For systems whose inner step is a chain: more threads than chains make it slower.

    To be called before TensorFlow starts. TF_NUM_INTEROP_THREADS in the environment overrides it.

    Args:
        num_chains: that do not wait for each other, such as the tasks of a meta-batch.
    """
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(min(num_chains, num_cores())))


def check_output(path: str, suffixes: Sequence[str] = (".png",)) -> None:
    """Raises UserError if a result could not be written there: now rather than after minutes.

    Args:
        suffixes: how its name may end; empty for any.
    """
    if problem := output_files.problem(path, suffixes):
        raise UserError(problem)


def reuse_freed_memory() -> None:
    """Makes C's allocator keep what TensorFlow frees, for programs that repeat their work.

    By default glibc hands large blocks back to Linux at once and gets them anew, page by page: with
    h = 64, whose weights take 311 MB, 2.7 million page faults in one adaptation, a sixth of its
    time.
    """
    with contextlib.suppress(AttributeError, OSError):  # Another C library.
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def start_tensorflow() -> str:
    """Imports and starts TensorFlow without its banner.

    Returns:
        The name of the device in use: "CPU", or that of the first GPU.
    """
    with banner_held_back():
        import tensorflow as tf

        devices = tf.config.list_logical_devices()
    gpus = [device for device in devices if device.device_type == "GPU"]
    if not gpus:
        return "CPU"
    first, *_ = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(first).get("device_name"))
