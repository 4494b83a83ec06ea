"""The workers that TF_CONFIG names, and how they find each other before TensorFlow starts."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import socket
import time
from typing import Any

from figr_common import addresses
from figr_tf.core.errors import RunError

# Exit status after the loss of a worker: EX_TEMPFAIL. The same command may well succeed next time.
LOST = 75
_MAX_LINE = 1 << 20
_RETRY = 0.2  # Seconds.


class WorkerLost(RunError):
    """A worker that did not come."""

    exit_status = LOST


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All workers, "host:port" each, and which of them this process is; worker 0 is the chief."""

    addresses: tuple[str, ...] = ("localhost:0",)
    index: int = 0

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process is worker 0, which writes the run folder."""
        return self.index == 0

    def name(self, index: int | None = None) -> str:
        """Such as "worker 1 (10.0.0.2:2222)"; by default this one's."""
        index = self.index if index is None else index
        return f"worker {index} ({self.addresses[index]})"

    def host_and_port(self, index: int) -> tuple[str, int]:
        """Of one worker's address. Raises ValueError if it is none."""
        return addresses.split(self.addresses[index])

    def hosts(self) -> list[str]:
        """Without their ports."""
        return [self.host_and_port(index)[0] for index in range(self.size)]

    @classmethod
    def from_environment(cls) -> "Cluster":
        """Reads TF_CONFIG, which `tf.distribute` will read as well.

        Raises:
            RunError: it is missing, is not of this form or has jobs other than workers.
        """
        text = os.environ.get("TF_CONFIG", "")
        example = (
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]},'
            ' "task": {"type": "worker", "index": 0}}'
        )
        try:
            config = json.loads(text)
            cluster = cls(tuple(config["cluster"].pop("worker")), int(config["task"]["index"]))
            ports = [cluster.host_and_port(i)[1] for i in range(cluster.size)]
            good = config["task"]["type"] == "worker" and not config["cluster"] and min(ports) > 0
        except (ValueError, KeyError, TypeError, AttributeError):
            good = False
        if (
            not good
            or not 0 <= cluster.index < cluster.size
            or len(set(cluster.addresses)) < cluster.size
        ):
            raise RunError(
                f"--distribute=multi_worker needs TF_CONFIG to be like {example}, each worker with"
                f" an address and an index of its own. Received: {text!r}"
            )
        return cluster


def software() -> dict[str, str]:
    """What must be alike on all workers: versions, and this package to the byte.

    A forgotten update of the package would not show in its version.
    """
    packages = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    # Sorted, since file systems list in any order.
    sources = sorted(pathlib.Path(__file__).parents[2].rglob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return packages | {"figr_tf_sources": code}


class Connection:
    """Lines of JSON over a socket.

    Attributes:
        silence: seconds since something was received.
    """

    def __init__(self, connected: socket.socket):
        self.socket = connected
        self.silence = 0.0
        self._buffer = b""
        connected.settimeout(5.0)

    def send(self, kind: str, content: Any) -> None:
        """Sends one message. Raises OSError if the connection has ended."""
        self.socket.sendall(json.dumps({kind: content}).encode() + b"\n")

    def read(self) -> list[tuple[str, Any]]:
        """The messages that have arrived, once something has.

        Raises OSError if the connection has ended or talks nonsense.
        """
        data = self.socket.recv(1 << 16)
        # A stranger on this port may send anything, but not fill the memory.
        if not data or len(self._buffer) > _MAX_LINE:
            raise ConnectionError("closed")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            return [next(iter(json.loads(line).items())) for line in lines]
        except (ValueError, AttributeError, StopIteration) as error:
            raise ConnectionError(f"not a message: {lines[0][:80]!r}") from error

    def read_one(self, seconds: float) -> tuple[str, Any]:
        """The first message. Raises OSError as `read` does, or if none comes in time."""
        self.socket.settimeout(seconds)
        # A message may come in pieces: until its end has come, `read` gives nothing.
        while not (messages := self.read()):
            pass
        self.socket.settimeout(5.0)
        return messages[0]

    def close_when_read(self) -> None:
        """Waits, a second at most, until the other side has closed.

        Closing at once could discard what was sent.
        """
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1.0)
            while self.socket.recv(1 << 16):
                pass


def gather(cluster: Cluster, start_timeout: float) -> dict[int, Connection]:
    """Connects this worker to the chief, or the chief to all others; returns when all are there.

    Returns:
        A connection for each worker's index: to the chief alone, or of the chief to all others.

    Raises:
        WorkerLost: a worker did not come within `start_timeout` seconds.
        RunError: a process came that does not belong here.
    """
    if cluster.size == 1:
        return {}
    deadline = time.monotonic() + start_timeout
    if not cluster.is_chief:
        return {0: _report_to_chief(cluster, deadline, start_timeout)}
    connections: dict[int, Connection] = {}
    try:
        _welcome_workers(cluster, connections, deadline, start_timeout)
    except RunError as error:
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.send("end", [str(error), error.exit_status])
            connection.close_when_read()
        raise
    return connections


def _listen(port: int, backlog: int) -> socket.socket:
    """At all addresses of this host, whichever of its names the others were given."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    return socket.create_server(("", port), family=family, backlog=backlog, dualstack_ipv6=both)


def _welcome_workers(
    cluster: Cluster, connections: dict[int, Connection], deadline: float, start_timeout: float
) -> None:
    try:
        listener = _listen(cluster.host_and_port(0)[1], cluster.size)
    except OSError as error:
        raise RunError(f"{cluster.name()} cannot listen on its port: {error.strerror}") from error
    # TensorFlow's own server takes the port once this listener is closed; connections made by then
    # stay.
    with listener:
        while len(connections) < cluster.size - 1:
            try:
                listener.settimeout(max(deadline - time.monotonic(), 0.001))
                connection = Connection(listener.accept()[0])
                kind, content = connection.read_one(5.0)
            except OSError:  # Also whatever is no worker: a probe, a scanner.
                if time.monotonic() < deadline:
                    continue
                missing = [cluster.name(i) for i in range(1, cluster.size) if i not in connections]
                raise WorkerLost(
                    f"{', '.join(missing)} did not come within {start_timeout:g} s"
                ) from None
            match kind, content:  # A stranger may say anything.
                case "hello", [int(index), [*addresses]]:
                    _admit(cluster, connections, connection, index, addresses)
    for connection in connections.values():
        with contextlib.suppress(OSError):  # Its reading side will notice.
            connection.send("welcome", None)


def _admit(
    cluster: Cluster,
    connections: dict[int, Connection],
    connection: Connection,
    index: int,
    addresses: list[str],
) -> None:
    """Takes a worker in.

    One that comes again has been restarted. Of two that claim one place the first is told so.
    """
    previous = connections.pop(index, None)
    connections[index] = connection
    if previous:
        with contextlib.suppress(OSError):
            previous.send("end", [f"another process has come as {cluster.name(index)}", 1])
    if tuple(addresses) != cluster.addresses:
        raise RunError(
            f"worker {index} has the workers {', '.join(addresses)} in its TF_CONFIG,"
            f" {cluster.name(0)} has {', '.join(cluster.addresses)}"
        )


def _report_to_chief(cluster: Cluster, deadline: float, start_timeout: float) -> Connection:
    while True:
        try:
            connected = socket.create_connection(cluster.host_and_port(0), timeout=5.0)
            # On one host, a socket that is assigned the very port it calls is connected to itself.
            if connected.getsockname() != connected.getpeername():
                break
            connected.close()
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or error
                raise WorkerLost(
                    f"{cluster.name(0)} did not come within {start_timeout:g} s: {reason}"
                ) from error
        time.sleep(_RETRY)
    connection = Connection(connected)
    try:
        connection.send("hello", [cluster.index, list(cluster.addresses)])
        kind, content = connection.read_one(start_timeout + 10.0)
    except OSError as error:
        raise WorkerLost(f"{cluster.name(0)} has ended before all workers were there") from error
    if kind == "end":
        text, status = content
        raise WorkerLost(text) if status == LOST else RunError(text)
    return connection
