"""Processes that are timed in turns, so that a busy machine is busy for all of them."""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.worker import Work


class Ours:
    """A worker process that runs once whenever asked.

    Attributes:
        ready: what it said when it was warm, see `benchmarks.worker`.
        seconds: of each run so far.
        peak_mib: most memory that it ever held, in MiB; None where the system does not tell.
    """

    def __init__(self, work: Work):
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(dataclasses.asdict(work))]
        # Standard error is left alone, so that a dying worker's last words reach the terminal.
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.ready = self._read()
        self.seconds: list[float] = []
        self.peak_mib: float | None = None

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        # An empty line is the end of the pipe: the worker has died.
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"a worker ended with status {self._process.wait()}; its error stands above"
            )
        return json.loads(line)

    def run(self) -> None:
        """Runs once, and waits for it.

        Raises:
            RuntimeError: the worker has ended.
        """
        assert self._process.stdin
        # A line starts a run and a line answers, so worker and caller never compute at the same
        # time.
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._read()
        self.seconds.append(answer["seconds"])
        self.peak_mib = answer["peak_mib"]

    def close(self) -> None:
        """Ends the worker."""
        # It has nothing to save, and may be in the middle of a call that hears no signal.
        self._process.kill()
        self._process.wait()


class Peer:
    """The eager PyTorch peer: a process each time, since it prints its times when it ends.

    Args:
        python: interpreter that has torch.
        script: to run.
        arguments: of the script, without --steps.
        steps: timed meta-steps in each turn, after one that does not count.
    """

    def __init__(
        self,
        python: pathlib.Path,
        script: pathlib.Path,
        arguments: list[str],
        steps: int,
    ):
        self._command = [str(python), str(script), *arguments, f"--steps={steps}"]
        self.seconds: list[float] = []

    def run(self) -> None:
        """Runs the script once; its times join `seconds`."""
        # Without our settings of TensorFlow's threads.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
        done = subprocess.run(
            self._command, stdout=subprocess.PIPE, text=True, check=True, env=environment
        )
        # The peer may print before; its result is the last line.
        self.seconds += json.loads(done.stdout.splitlines()[-1])["seconds"]


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, least and number of some times, as they are written to a JSON file."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "runs": len(seconds)}
