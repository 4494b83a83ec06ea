"""Who takes part in a run on several workers, and whether they still do. Knows no TensorFlow.

A collective operation waits for ever for a worker that never came, and a process that waits in one
is deaf to SIGTERM. So, before TensorFlow starts, every worker opens a connection to the chief
(worker 0), on the very port on which TensorFlow will listen later, and keeps it to the end. Over it
they compare what they are about to do, and a thread of each watches it: a closed connection is a
dead worker at once, a silent one a dead host after `SILENCE` seconds. Whoever finds something wrong
tells the chief, the chief tells all, and each prints the same sentence and ends.

Messages are lines of JSON, an object with one key: hello, welcome, beat, facts, agreed, stop, end
or done.
"""

import contextlib
import dataclasses
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from figr_tf.core.distributed.cluster import LOST, Cluster, Connection, gather
from figr_tf.core.interruption import in_main_thread

SILENCE = 30.0  # Seconds without a sign of life after which a worker counts as lost.
_TICK = 0.2  # Seconds between two looks at what is to be sent.
_BEAT = 2.0  # Seconds between two signs of life.
# Seconds that workers get to come to a comparison: one of them may still be decoding its data.
_PREPARATION = 3600.0


@dataclasses.dataclass
class _Deadline:
    seconds_left: float
    sentence: Callable[[], str]


class Supervisor:
    """One worker's view of all of them; does nothing where there is only one.

    A context: entering waits for all workers; an error that leaves it is told to all others.

    Args:
        start_timeout: seconds to wait for workers that have not come.

    Attributes:
        start_timeout: as given.
        stop_signals: signals that other workers have received and this one should act on, too.

    Raises:
        WorkerLost: on entering, a worker did not come.
        RunError: on entering, a process came that does not belong here.
    """

    def __init__(self, cluster: Cluster, start_timeout: float):
        self.cluster = cluster
        self.stop_signals: list[int] = []
        self.start_timeout = start_timeout
        self._connections: dict[int, Connection] = {}
        self._outbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._facts: dict[int, dict[str, Any]] = {}
        self._agreed, self._finished = threading.Event(), threading.Event()
        self._done: set[int] = set()
        self._deadline: _Deadline | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Supervisor":
        self._connections = gather(self.cluster, self.start_timeout)
        if self._connections:
            # A copy: while TensorFlow starts, its banner is held back and everything else on stderr
            # with it.
            self._terminal = os.dup(2)
            self._wakings, self._waker = socket.socketpair()
            self._waker.setblocking(False)
            self._thread.start()
        return self

    def __exit__(self, kind, error, _traceback) -> None:
        if not self._connections:
            return
        if kind is None or (kind is SystemExit and isinstance(error.code, int)):
            self._outbox.put(("done", self.cluster.index))
        else:
            status = getattr(error, "exit_status", 1)
            text = " ".join(f"{error}".split()) or kind.__name__
            self._outbox.put(("end", [f"{self.cluster.name()} ended: {text}", status]))
        self._finished.wait()

    def compare(self, facts: dict[str, Any]) -> None:
        """Waits until all workers have come here, and ends all where one has other facts."""
        if self._connections:
            self._agreed.clear()
            self._outbox.put(("facts", [self.cluster.index, facts]))
            # The chief knows who is missing, and ends the others before they take it to be the one.
            patience = _PREPARATION if self.cluster.is_chief else _PREPARATION + SILENCE
            self._deadline = _Deadline(patience, self._missing)
            self._agreed.wait()
            self._deadline = None

    @contextlib.contextmanager
    def hearing_signals(self) -> Iterator[None]:
        """Tells the chief of any signal at once, since the main thread may be deaf in TensorFlow.

        The chief may be busy with a picture that all wait for, and will not finish it then.
        """
        if not self._connections or not in_main_thread():
            yield
            return
        previous = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)

    @contextlib.contextmanager
    def within(self, seconds: float, what: str) -> Iterator[None]:
        """Ends all workers, saying `what`, if the body takes longer; it may wait for them."""
        self._deadline = _Deadline(seconds, lambda: f"{self.cluster.name()}: {what}")
        try:
            yield
        finally:
            self._deadline = None

    def wait_for_the_cause(self, seconds: float) -> None:
        """After a failed collective: time for the watching thread to end this process with its
        cause.

        TensorFlow misses a frozen worker or a dead host earlier, after ten seconds, and does not
        say which.
        """
        if self._connections:
            time.sleep(seconds)

    # What follows runs in the watching thread alone.

    def _watch(self) -> None:
        with selectors.DefaultSelector() as selector:
            for index, connection in self._connections.items():
                selector.register(connection.socket, selectors.EVENT_READ, index)
            selector.register(self._wakings, selectors.EVENT_READ)
            last = beaten = time.monotonic()
            while not self._finished.is_set():
                for key, _ in selector.select(_TICK):
                    if key.fileobj is self._wakings:
                        self._hear_signals()
                    else:
                        self._receive(key.data)
                now = time.monotonic()
                # If it was this process that was stopped for a while, the others' silence proves
                # nothing.
                self._look_at_clocks(min(now - last, 5 * _TICK))
                last = now
                if now - beaten > _BEAT:
                    self._send_all("beat", None)
                    beaten = now
                while not self._outbox.empty():
                    self._handle(self.cluster.index, *self._outbox.get())

    def _look_at_clocks(self, elapsed: float) -> None:
        for index, connection in self._connections.items():
            connection.silence += elapsed
            if connection.silence > SILENCE and index not in self._done:
                self._end(
                    f"{self.cluster.name(index)} has given no sign of life for {SILENCE:.0f} s",
                    LOST,
                )
        if deadline := self._deadline:
            deadline.seconds_left -= elapsed
            if deadline.seconds_left < 0 and deadline is self._deadline:
                self._end(deadline.sentence(), LOST)

    def _hear_signals(self) -> None:
        for number in self._wakings.recv(64):
            self._handle(self.cluster.index, "stop", number)

    def _receive(self, index: int) -> None:
        connection = self._connections[index]
        connection.silence = 0.0
        try:
            messages = connection.read()
        except OSError:
            if index not in self._done:
                self._end(
                    f"{self.cluster.name(index)} has died: its connection closed without a word",
                    LOST,
                )
            self._finished.wait(_TICK)
            return
        for kind, content in messages:
            self._handle(index, kind, content)

    def _handle(self, sender: int, kind: str, content: Any) -> None:
        """Acts on a message from another worker or from this one's main thread."""
        if kind == "end":
            text, status = content
            self._end(text, status, is_ours=sender == self.cluster.index)
        elif kind == "agreed":
            self._agreed.set()
        elif kind == "done" and not self.cluster.is_chief and sender == 0:
            self._finished.set()
        elif not self.cluster.is_chief:
            if kind != "beat":
                self._send_all(kind, content)
        elif kind == "facts":
            self._facts[content[0]] = content[1]
            self._compare_when_complete()
        elif kind == "stop":
            self.stop_signals.append(content)
        elif kind == "done":
            self._done.add(content)
            if len(self._done) == self.cluster.size:
                self._send_all("done", 0)
                self._finished.set()

    def _missing(self) -> str:
        known = self._facts if self.cluster.is_chief else range(1, self.cluster.size)
        names = [self.cluster.name(i) for i in range(self.cluster.size) if i not in known]
        return f"{', '.join(names)} has not come as far as the others within {_PREPARATION:.0f} s"

    def _compare_when_complete(self) -> None:
        if len(self._facts) < self.cluster.size:
            return
        facts, self._facts = self._facts, {}
        for index, theirs in facts.items():
            for key, ours in facts[0].items():
                if theirs.get(key) != ours:
                    name, chief = self.cluster.name(index), self.cluster.name(0)
                    self._end(
                        f"{name} has {key}={theirs.get(key)}, {chief} has {key}={ours}."
                        " Start all workers with the same flags, data and versions.",
                        1,
                    )
        self._agreed.set()
        self._send_all("agreed", None)

    def _send_all(self, kind: str, content: Any) -> None:
        for connection in self._connections.values():
            with contextlib.suppress(OSError):  # its reading side will notice
                connection.send(kind, content)

    def _end(self, text: str, status: int, is_ours: bool = False) -> None:
        """Tells all others, waits until they have heard, and ends this process.

        The main thread may be stuck, so this thread does it.
        """
        self._send_all("end", [text, status])
        for connection in self._connections.values():
            connection.close_when_read()
        if is_ours:  # the main thread prints it and ends by itself
            self._finished.set()
            return
        sys.stdout.flush()
        os.write(self._terminal, f"error: {text}\n".encode())
        os._exit(status)
