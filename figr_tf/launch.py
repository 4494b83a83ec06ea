"""Starts all workers of a training on this host: for tests, for CPUs, for GPUs kept apart.

  python -m figr_tf.launch --workers 2 -- --flagfile omniglot.flags --meta_batch_size=2

What follows `--` are flags of figr_tf.train. The GPUs in CUDA_VISIBLE_DEVICES, if it is set, are
shared out evenly. SIGTERM, SIGHUP and Ctrl-C go to all workers, which save and stop. Once one
fails, the others end by themselves, or are ended after a minute.

Exit status: 0 if all workers finished, otherwise that of the first to fail: 128 + signal number
after SIGTERM or Ctrl-C (143, 130) and for a killed worker (137), 75 after the loss of a worker, 1
for an error that will come again.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO

from figr_common import streams
from figr_tf.core import console, interruption
from figr_tf.core.distributed.cluster import LOST

# How CUDA names devices: by number, by UUID, or by the UUID of a slice of one.
_GPU = re.compile(r"\d+$|GPU-|MIG-")
_GRACE = 60.0  # Seconds for workers to notice by themselves that another one has failed,
_LAST_GRACE = 30.0  # and then to save after SIGTERM.
_POLL = 0.1  # Seconds.


def free_ports(count: int) -> list[int]:
    """Ports that are free now.

    They lie below those that the system gives to outgoing connections, any of which could take one
    before its worker does.
    """
    ports: list[int] = []
    # From the system's generator: of two launchers at once, each tries ports of its own.
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            ports.append(port)
        if len(ports) == count:
            break
    return ports


def environments(
    num_workers: int, ports: list[int], base: Mapping[str, str]
) -> list[dict[str, str]]:
    """The environment of each worker: its place in the cluster, its share of cores and GPUs."""
    named = (name.strip() for name in base.get("CUDA_VISIBLE_DEVICES", "").split(","))
    # CUDA counts what comes before the first name of no device: -1, NoDevFiles or void hide all.
    gpus = list(itertools.takewhile(_GPU.match, named))
    if len(gpus) % num_workers:
        sys.exit(
            f"error: {len(gpus)} GPUs in CUDA_VISIBLE_DEVICES cannot be shared evenly among"
            f" {num_workers} workers"
        )
    threads = max(1, console.num_cores() // num_workers)
    addresses = [f"127.0.0.1:{port}" for port in ports]
    workers = []
    for index in range(num_workers):
        # TF_CONFIG as tf.distribute defines it. All have the same list; the index tells them apart.
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = (
            # Its share of the cores, unless the environment says otherwise.
            {"TF_NUM_INTEROP_THREADS": str(threads)}
            | dict(base)
            | {"TF_CONFIG": json.dumps(config)}
        )
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[index::num_workers])
        workers.append(environment)
    return workers


def _copy_lines(index: int, source: IO[str], target: IO[str]) -> None:
    # Where nobody reads any more the worker's own output breaks off, so that it saves and stops.
    with contextlib.suppress(OSError), source:
        for line in source:
            target.write(f"[worker {index}] {line}")
            target.flush()


def _start(
    train_flags: list[str], environment: dict[str, str], index: int
) -> tuple[subprocess.Popen, list]:
    process = subprocess.Popen(
        [sys.executable, "-m", "figr_tf.train", "--distribute=multi_worker", *train_flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal's Ctrl-C would reach them twice, and a second one means: do not save.
        start_new_session=True,
    )
    # A thread for each pipe: a worker whose pipe is full stops in the middle of a line, and the
    # other workers wait for it.
    copies = [
        threading.Thread(target=_copy_lines, args=(index, *streams), daemon=True)
        for streams in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
    ]
    for copy in copies:
        copy.start()
    return process, copies


def _signal_all(workers: list[subprocess.Popen], number: int) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


def _wait(workers: list[subprocess.Popen]) -> int:
    """Waits until all workers have ended, and makes those end that do not by themselves.

    Returns the launcher's own exit status.
    """
    first_failure, deadlines = 0, [(_GRACE, signal.SIGTERM), (_GRACE + _LAST_GRACE, signal.SIGKILL)]
    failed_at = 0.0
    while True:
        # Asked in turns, since any of them may be the first to end.
        statuses = [worker.poll() for worker in workers]
        failures = [status for status in statuses if status]
        if failures and not first_failure:
            # Of two in one poll the loss of a worker is the consequence, the other the cause.
            first_failure = min(failures, key=lambda status: status == LOST)
            failed_at = time.monotonic()
        if None not in statuses:
            # Python's −n for a worker that signal n killed becomes the shells' 128 + n.
            return first_failure if first_failure >= 0 else 128 - first_failure
        if first_failure and deadlines and time.monotonic() - failed_at > deadlines[0][0]:
            _signal_all(workers, deadlines.pop(0)[1])
        time.sleep(_POLL)


def main() -> None:
    """Parses the command line and starts the workers."""
    with streams.tolerated():
        _launch()


def _launch() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", type=int, required=True, help="how many processes share each meta-batch"
    )
    # argparse takes nothing behind -- for a flag of its own, so all of it reaches figr_tf.train.
    parser.add_argument("train_flags", nargs="*", metavar="-- FLAG", help="flags of figr_tf.train")
    arguments = parser.parse_args()
    if arguments.workers < 1:
        parser.error(f"--workers must be a positive integer. Received: {arguments.workers}")
    each = environments(arguments.workers, free_ports(arguments.workers), os.environ)
    workers: list[subprocess.Popen] = []
    # Before the first worker is started, so that none is left behind.
    for number in interruption.endings():
        signal.signal(number, lambda received, _frame: _signal_all(workers, received))
    copies = []
    for index, environment in enumerate(each):
        worker, copying = _start(arguments.train_flags, environment, index)
        workers.append(worker)
        copies += copying
    status = _wait(workers)
    for copy in copies:
        # The last lines of a worker matter most. A pipe that a process of its own still holds may
        # not keep the launcher for ever.
        copy.join(timeout=5.0)
    sys.exit(status)


if __name__ == "__main__":
    main()
