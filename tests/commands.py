"""Runs commands: in this process, or in one of their own without the seconds of an import.

One server process imports TensorFlow and Keras, starts nothing of theirs, and is forked for each
command. A fork has arguments, environment, output, signals and exit status of its own, and imports
the project itself. What a real start does beyond that is tested where it matters, with
`subprocess`.
"""

import functools
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence
from multiprocessing import connection, forkserver
from unittest import mock

# Nothing of the tests is imported here: a fork imports this module, and is to begin clean.
ROOT = pathlib.Path(__file__).parent.parent
# As a user runs it: with TensorFlow's own choice of threads, unlike the tests within this process.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("TF_NUM_")}


@functools.cache
def _context() -> multiprocessing.context.BaseContext:
    """Starts the server at the first call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras"])
    # C++ reads the level when it first has something to say: at this import, not in the forks.
    with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"):
        forkserver.ensure_running()
    return context


def _main(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    outputs: Sequence[connection.Connection],
) -> None:
    for number, output in enumerate(outputs, start=1):
        os.dup2(output.fileno(), number)
    for output in outputs:
        output.close()
    # Streams know what lay under them when they were made.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.path[0] = str(ROOT)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class Process:
    """A running command, with what is used of `subprocess.Popen`."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] = ENVIRONMENT,
        together: bool = False,
    ):
        """Starts it.

        Args:
            together: whether its errors go to `stdout`, among the rest.
        """
        context = _context()
        readers, writers = zip(*(context.Pipe(duplex=False) for _ in range(2)), strict=True)
        outputs = [writers[0], writers[0 if together else 1]]
        arguments = (module, list(arguments), dict(environment), outputs)
        self._process = context.Process(target=_main, args=arguments)
        self._process.start()
        for writer in writers:
            writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(r.fileno()), "r") for r in readers)
        for reader in readers:
            reader.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of Popen: −n after signal n; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it says from now on, on both outputs, until it ends."""
        said = ["", ""]

        def read(index: int) -> None:
            stream = (self.stdout, self.stderr)[index]
            if not stream.closed:
                said[index] = stream.read()
                stream.close()

        readers = [threading.Thread(target=read, args=[i], daemon=True) for i in range(2)]
        end = None if timeout is None else time.monotonic() + timeout
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
        self.wait(None if end is None else max(0.0, end - time.monotonic()))
        return said[0], said[1]


def run_here(command: types.ModuleType, *arguments: str) -> None:
    """A command's main in this process, with these arguments and no others."""
    given = command.flags.FLAGS
    for name in given:
        given[name].unparse()
    given.unparse_flags()
    given(["command", *arguments])
    command.main()


def run(
    module: str, *arguments: str, environment: Mapping[str, str] = ENVIRONMENT, timeout=300.0
) -> subprocess.CompletedProcess:
    """As `python -m module …` to its end; nothing of it outlives `timeout` seconds."""
    process = Process(module, arguments, environment)
    try:
        stdout, stderr = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess([module, *arguments], process.returncode, stdout, stderr)
