"""Who takes part and whether they still do, in small processes without TensorFlow."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from figr_tf import launch
from figr_tf.core.distributed import cluster
from figr_tf.core.distributed.cluster import Cluster
from figr_tf.core.errors import RunError, UserError
from tests.conftest import ROOT

WORKERS = ["a:1", "b:2"]


def _config(workers, index, kind="worker", **more_jobs):
    return json.dumps(
        {"cluster": {"worker": workers} | more_jobs, "task": {"type": kind, "index": index}}
    )


def test_tf_config_says_who_takes_part(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _config(WORKERS, 1))
    assert Cluster.from_environment() == Cluster(("a:1", "b:2"), 1)
    assert Cluster.from_environment().name() == "worker 1 (b:2)"
    assert not Cluster.from_environment().is_chief


def test_workers_may_have_ipv6_addresses(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", _config(["[::1]:1", "[fe80::2]:2"], 1))
    members = Cluster.from_environment()
    assert [members.host_and_port(i) for i in range(2)] == [("::1", 1), ("fe80::2", 2)]
    assert members.name() == "worker 1 ([fe80::2]:2)"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "{",
        "[]",
        _config(WORKERS, 2),
        _config(WORKERS, -1),
        _config(WORKERS, "x"),
        _config(["a:1", "a:1"], 0),
        _config(["a", "b:2"], 0),
        _config(["a:0", "b:2"], 0),
        _config(WORKERS, 0, "chief"),
        _config(WORKERS, 0, ps=["c:3"]),
    ],
)
def test_a_tf_config_of_another_form_is_refused_with_what_was_received(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(
        RunError, match="--distribute=multi_worker needs TF_CONFIG to be like"
    ) as caught:
        Cluster.from_environment()
    assert str(caught.value).endswith(f"Received: {config!r}")


# One worker: its body runs under supervision, with silence noticed after a second and a half.
WORKER = """
import os, signal, sys, time
from figr_tf.core import console
from figr_tf.core.distributed import supervision
from figr_tf.core.distributed.cluster import Cluster
from figr_tf.core.errors import UserError
supervision.SILENCE, supervision._BEAT = 1.5, 0.2

def main():
    with supervision.Supervisor(Cluster.from_environment(), 20.0) as supervisor:
{body}

console.run(main)
"""


def _start(bodies: tuple[str, ...], ports: list[int]) -> list[subprocess.Popen]:
    """Workers with these bodies, side by side."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORKER.format(body=textwrap.indent(body, " " * 8))],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for body, environment in zip(
            bodies, launch.environments(len(bodies), ports, os.environ), strict=True
        )
    ]


def _outcomes(*bodies: str) -> list[tuple[int, str]]:
    """Exit status and stderr of workers with these bodies."""
    processes = _start(bodies, launch.free_ports(len(bodies)))
    try:
        errors = [process.communicate(timeout=60)[1] for process in processes[::-1]][::-1]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def _name(outcome: tuple[int, str], index: int) -> bool:
    return f"worker {index} (127.0.0.1:" in outcome[1]


def test_workers_that_agree_end_together():
    same = "supervisor.compare({'a': 1})\nsupervisor.compare({'b': [2]})"
    assert _outcomes(same, same, same) == [(0, "")] * 3


def test_the_first_difference_is_named_with_both_values_by_all():
    bodies = [f"supervisor.compare({{'a': 1, 'b': {b}}})\ntime.sleep(60)" for b in (2, 2, 3)]
    for status, error in _outcomes(*bodies):
        assert status == 1
        assert error.startswith("error: worker 2 (127.0.0.1:")
        assert " has b=3, worker 0 (" in error
        assert " has b=2. Start all workers with the same flags, data and versions.\n" in error


def test_an_error_of_one_worker_is_told_to_all_others():
    fine = "time.sleep(60)"
    ended = _outcomes(
        fine, "from figr_tf.core.errors import DataError\nraise DataError('no such folder')", fine
    )
    assert [status for status, _ in ended] == [1, 1, 1]
    assert ended[1][1] == "error: no such folder\n"
    for outcome in (ended[0], ended[2]):
        assert _name(outcome, 1)
        assert outcome[1].endswith(" ended: no such folder\n")


def test_a_frozen_worker_is_named_after_the_silence():
    frozen = "os.kill(os.getpid(), signal.SIGSTOP)"
    fine = "time.sleep(60)"
    ports = launch.free_ports(3)
    assert len(set(ports)) == 3
    processes = _start((fine, frozen, fine), ports)
    try:
        for process in (processes[0], processes[2]):
            _, error = process.communicate(timeout=60)
            assert process.returncode == cluster.LOST
            assert (
                error
                == f"error: worker 1 (127.0.0.1:{ports[1]}) has given no sign of life for 2 s\n"
            )
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_waiting_longer_than_a_deadline_ends_all():
    slow = "with supervisor.within(0.5, 'waited for the others'):\n    time.sleep(60)"
    for status, error in _outcomes("time.sleep(60)", slow):
        assert status == cluster.LOST
        assert error.startswith("error: worker 1 (127.0.0.1:")
        assert error.endswith("): waited for the others\n")


@pytest.mark.parametrize(
    "missing", [0, 2]
)  # the chief is missed by the others, any other by the chief
def test_a_worker_that_does_not_come_to_a_comparison_is_named(missing):
    bodies = ["supervision._PREPARATION = 2.0\nsupervisor.compare({'a': 1})"] * 3
    bodies[missing] = "time.sleep(60)"
    for outcome in _outcomes(*bodies):
        assert outcome[0] == cluster.LOST
        assert outcome[1].startswith(f"error: worker {missing} (127.0.0.1:")
        assert outcome[1].endswith(") has not come as far as the others within 2 s\n")


def test_a_signal_of_a_worker_that_is_stuck_in_a_call_reaches_the_chief():
    """Python's own handlers run between two instructions of the main thread, and so not within
    minutes of C++.
    """
    chief = (
        "while not supervisor.stop_signals:\n    time.sleep(0.01)\n"
        "raise UserError(supervisor.stop_signals)"
    )
    stuck = """
import hashlib, threading
from figr_tf.core.interruption import signals_noted
with supervisor.hearing_signals(), signals_noted():
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
    first, second = _outcomes(chief, stuck)
    assert first == (1, "error: [15]\n")
    assert second[0] == 1
    assert second[1].endswith(" ended: [15]\n")


def test_two_processes_in_one_place_are_told_apart_from_a_restart():
    """The second one counts; the first is told why it has to go."""
    ports = launch.free_ports(3)
    connections: dict[int, cluster.Connection] = {}
    import socket

    pairs = [socket.socketpair() for _ in range(2)]
    members = Cluster(tuple(f"127.0.0.1:{port}" for port in ports))
    for ours, _ in pairs:
        cluster._admit(members, connections, cluster.Connection(ours), 1, list(members.addresses))
    assert cluster.Connection(pairs[0][1]).read() == [
        ("end", [f"another process has come as worker 1 (127.0.0.1:{ports[1]})", 1])
    ]
    assert connections[1].socket is pairs[1][0]
    with pytest.raises(UserError, match="has the workers x:1, y:2 in its TF_CONFIG"):
        cluster._admit(members, connections, cluster.Connection(pairs[0][0]), 2, ["x:1", "y:2"])
    # Of a longer list there may be a worker that this one has no place for.
    longer = [*members.addresses, "x:1"]
    with pytest.raises(UserError, match=r"worker 3 has the workers .*, x:1 in its TF_CONFIG"):
        cluster._admit(members, connections, cluster.Connection(pairs[0][0]), 3, longer)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.0\r\n\r\n", b'{"hello": null}\n'])
def test_what_is_no_worker_is_not_admitted(said):
    """A health probe or a browser: the chief goes on waiting for its worker."""
    import os
    import socket

    ports = launch.free_ports(2)
    environments = launch.environments(2, ports, os.environ)

    def start(index):
        command = [sys.executable, "-c", WORKER.format(body=" " * 8 + "pass")]
        return subprocess.Popen(
            command, cwd=ROOT, env=environments[index], stderr=subprocess.PIPE, text=True
        )

    chief = start(0)
    while True:
        try:
            with socket.create_connection(("127.0.0.1", ports[0]), timeout=10) as probe:
                probe.sendall(said)
                break
        except ConnectionRefusedError:
            assert chief.poll() is None
    worker = start(1)
    for process in (chief, worker):
        assert process.communicate(timeout=60) == (None, "")
        assert process.returncode == 0
