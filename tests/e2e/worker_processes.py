"""Starts the workers of a training as processes of this host, each with flags and environment of
its own.
"""

import contextlib
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from figr_tf import launch
from tests import commands
from tests.conftest import ROOT
from tests.e2e import small_data
from tests.serving.processes import CLOSED_PROXY

# Seconds after which a hanging test is ended. A loaded machine takes a while to import and trace.
DEADLINE = 180.0
# With a proxy where nothing listens: workers do not go through it.
ENVIRONMENT = commands.ENVIRONMENT | CLOSED_PROXY
# Twenty thousand meta-steps: longer than any test, which ends such a run itself.
TINY = (
    *small_data.PAIR,
    *(
        "--num_inner_steps=1",
        "--inner_learning_rate=1e-3",
        "--meta_learning_rate=1e-3",
        "--meta_batch_size=2",
    ),
    *("--num_meta_steps=20000", "--log_every=1", "--eval_every=1000000", "--checkpoint_every=1"),
)
TRAIN = (sys.executable, "-m", "figr_tf.train")


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen:
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **outputs)


class Ended(NamedTuple):
    """How a worker ended."""

    status: int
    stdout: str
    stderr: str


class Workers:
    """Running workers of one cluster."""

    def __init__(
        self, processes: Sequence[subprocess.Popen | commands.Process], addresses: Sequence[str]
    ):
        self.processes, self.addresses = processes, addresses
        self._read: list[str] = []

    def wait_for_line(self, start: str) -> None:
        """Until the chief has printed a line that begins so."""
        for line in self.processes[0].stdout:
            self._read.append(line)
            if line.startswith(start):
                return
        raise AssertionError(f"no {start!r} in {self._read}, {self.processes[0].stderr.read()}")

    def signal(self, index: int, number: int) -> float:
        """Sends a signal to one worker; the time."""
        self.processes[index].send_signal(number)
        return time.monotonic()

    def ended(self) -> list[Ended]:
        """Waits for all; with what has been read before."""
        outputs = [process.communicate() for process in self.processes]
        ended = [
            Ended(p.returncode, *output) for p, output in zip(self.processes, outputs, strict=True)
        ]
        return [ended[0]._replace(stdout="".join(self._read) + ended[0].stdout), *ended[1:]]


@contextlib.contextmanager
def workers(
    size: int,
    flags: Sequence[str],
    starts: Mapping[int, Sequence[str]] | None = None,
    more_flags: Mapping[int, Sequence[str]] | None = None,
    absent: Sequence[int] = (),
    host: str = "127.0.0.1",
) -> Iterator[Workers]:
    """Workers of a cluster of `size`; none outlives the context.

    Args:
        starts: for single ones, what a new process is started by, instead of a fork.
        more_flags: for single ones.
    """
    ports = launch.free_ports(size)
    addresses = [f"{host}:{port}" for port in ports]
    processes = []
    for index, environment in enumerate(launch.environments(size, ports, ENVIRONMENT)):
        if index in absent:
            continue
        environment["TF_CONFIG"] = environment["TF_CONFIG"].replace("127.0.0.1", host)
        arguments = ["--distribute=multi_worker", *flags, *(more_flags or {}).get(index, ())]
        if index in (starts or {}):
            processes.append(_started([*starts[index], *arguments], environment))
        else:
            processes.append(commands.Process("figr_tf.train", arguments, environment))
    # Reading a pipe has no deadline of its own.
    timers = [threading.Timer(DEADLINE, process.kill) for process in processes]
    for timer in timers:
        timer.start()
    try:
        yield Workers(processes, addresses)
    finally:
        for timer, process in zip(timers, processes, strict=True):
            timer.cancel()
            process.kill()
            process.communicate()


def loopback() -> str:
    """This machine's own address, of IPv6 where it has one."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return "[::1]"
    return "127.0.0.1"


def newest_step(run: pathlib.Path) -> int:
    return max(
        (int(p.stem.removeprefix("ckpt-")) for p in run.glob("checkpoints/ckpt-*.index")), default=0
    )


def recorded_starts(run: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (run / "starts.jsonl").read_text().splitlines()]
