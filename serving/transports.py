"""What a client needs of a connection, whichever protocol it speaks."""

import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from serving.errors import ServingError

T = TypeVar("T")

# A reply of 256 images of 1024² stays below. gRPC's own limit is 4 MiB.
MAX_MESSAGE_BYTES = 256 * 2**20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # Seconds.


class Endpoint(NamedTuple):
    """Which model on which server.

    Attributes:
        address: "host:port" for gRPC, "http://host:port" or "https://…" for REST.
        model: its name there.
        version: None for the newest.
        tls_ca: PEM file of the certificate authority that a gRPC server's certificate is checked
            against; None for no encryption. For REST, https is checked against the system's.
    """

    address: str
    model: str = "figr"
    version: int | None = None
    tls_ca: str | None = None


class VersionStatus(NamedTuple):
    """State of one version.

    Attributes:
        version: its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: empty unless loading failed.
    """

    version: int
    state: str
    error: str


class Transport(Protocol):
    """One request each, no retries.

    Every method takes the seconds that it may last, and raises ServingError.
    """

    def predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: list[str], timeout: float
    ) -> dict[str, np.ndarray]:
        """One call of a signature: the wanted outputs by name."""

    def signatures(self, timeout: float) -> Any:
        """Signature name → SignatureDef message."""

    def versions(self, timeout: float) -> list[VersionStatus]:
        """The state of every version that the server knows."""

    def close(self) -> None:
        """Ends the connection."""


def with_retries(call: Callable[[float], T], timeout: float, retry_for: float) -> T:
    """Calls, and calls again while the answer is UNAVAILABLE, with growing pauses.

    Nothing else is tried again: any other answer would come out the same. A request that was
    already under way when the connection broke may run twice, which the explicit seed makes
    harmless.

    Args:
        call: gets the seconds that are left.
        timeout: seconds for everything.
        retry_for: seconds from the start within which another try may begin.
    """
    start = time.monotonic()
    pause = _FIRST_PAUSE
    while True:
        try:
            # Never 0 or less, which libraries take for a case of its own.
            return call(max(timeout - (time.monotonic() - start), 1e-6))
        except ServingError as error:
            # At random, or all clients of a server that restarts would come back together.
            wait = pause * random.uniform(0.5, 1.0)
            # Pausing only to find that it is too late would keep the caller waiting for nothing.
            too_late = time.monotonic() + wait - start > min(timeout, retry_for)
            if error.code != "UNAVAILABLE" or too_late:
                raise
        time.sleep(wait)
        # Longer each time: a server that is starting needs its time for that.
        pause = min(2 * pause, _LONGEST_PAUSE)
