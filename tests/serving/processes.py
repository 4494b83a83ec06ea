"""Starts servers and the client as a user does: commands in processes of their own."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from serving import remote
from tests import commands
from tests.conftest import ROOT

PATIENCE = 60.0  # seconds for what takes well under one
# Nothing listens there, so that whatever goes through a proxy on its way to loopback fails.
CLOSED_PROXY = dict.fromkeys(
    (*("http_proxy", "https_proxy", "grpc_proxy"), *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")),
    "http://127.0.0.1:9",
)
START_TIMEOUT = 120.0  # seconds; a loaded machine takes a while to import TensorFlow

Process = subprocess.Popen | commands.Process


class Served(NamedTuple):
    """A running server: its process, and the addresses to give a client."""

    process: Process
    grpc: str
    rest: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _stopped_afterwards(process: Process) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _once_said(process: Process, until: str) -> Iterator[tuple[Process, str]]:
    """A process until the end of the block, and its first line that starts with `until`."""
    watchdog = threading.Timer(START_TIMEOUT, process.kill)
    watchdog.start()
    with _stopped_afterwards(process):
        output = ""
        while not (line := process.stdout.readline()).startswith(until):
            output += line
            assert line, output
        watchdog.cancel()
        yield process, line


def started(
    module: str, *flags: str, until: str
) -> contextlib.AbstractContextManager[tuple[Process, str]]:
    """`python -m module` until the end of the block, which begins when it prints a line that starts
    with `until`.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *flags],
        cwd=ROOT,
        env=os.environ | CLOSED_PROXY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return _once_said(process, until)


@contextlib.contextmanager
def start_embedded(base_path: pathlib.Path, *flags: str, port: int = 0) -> Iterator[Served]:
    """Runs `serving.server` until the end of the block; begins when it says that it serves."""
    given = [f"--model_base_path={base_path}", f"--port={port}", "--rest_port=0", *flags]
    process = commands.Process("serving.server", given, os.environ | CLOSED_PROXY, together=True)
    with _once_said(process, "serving ") as (_, line):
        grpc, rest = (part.split()[0].strip(",") for part in line.split(" at ")[1:])
        yield Served(process, grpc, f"http://{rest}")


@contextlib.contextmanager
def start_tensorflow_serving(base_path: pathlib.Path) -> Iterator[Served]:
    """Runs TensorFlow Serving's own binary; begins when the model is there."""
    port, rest_port = free_port(), free_port()
    command = [
        "tensorflow_model_server",
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        "--model_name=figr",
    ]
    process = subprocess.Popen(
        [*command, f"--model_base_path={base_path}"], stderr=subprocess.DEVNULL
    )
    with _stopped_afterwards(process):
        served = Served(process, f"127.0.0.1:{port}", f"http://127.0.0.1:{rest_port}")
        with remote.RemoteModel(
            remote.Endpoint(served.rest), START_TIMEOUT, START_TIMEOUT
        ) as model:
            model.versions()
        yield served


def run_client(*arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess:
    """`python -m serving.client …`, to its end."""
    environment = os.environ | CLOSED_PROXY
    return subprocess.run(
        client_command(*arguments),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def client_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "serving.client", *arguments]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
