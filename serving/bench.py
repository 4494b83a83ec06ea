"""Load on a server.

A closed loop sends a new request when one is answered; an open loop sends at a fixed rate.
"""

import collections
import concurrent.futures
import time
from typing import NamedTuple

import numpy as np

from serving.errors import ServingError
from serving.remote import RemoteModel


class Load(NamedTuple):
    """What to send.

    Attributes:
        num_requests: in all.
        concurrency: requests under way at once, at most.
        rate: requests a second, sent whether or not earlier ones are answered; None for a closed
            loop.
        num_samples, num_inner_steps: of each request; None for the export's default.
    """

    num_requests: int = 32
    concurrency: int = 1
    rate: float | None = None
    num_samples: int | None = None
    num_inner_steps: int | None = None


class Outcome(NamedTuple):
    """What became of one request.

    Attributes:
        seconds: from when it was due until its answer.
        error: the error's code, or None.
        samples: uint8 [m, S, S, C], or None.
    """

    seconds: float
    error: str | None
    samples: np.ndarray | None


def run(model: RemoteModel, support_images: np.ndarray, load: Load) -> dict:
    """Sends the load, every request with the same seed, and sums up.

    Returns:
        requests, seconds, rate (answers a second), errors (code → count), differing (answers that
        are not the first one to the byte; must be 0) and latency percentiles p50, p95, p99, max in
        seconds (None without an answer).
    """
    start = time.monotonic()

    def send(index: int) -> Outcome:
        # In an open loop a late request counts from when it was due: a queue must show.
        due = time.monotonic() if load.rate is None else start + index / load.rate
        # A late request is sent at once: an open loop must not slow down for a slow server.
        time.sleep(max(due - time.monotonic(), 0.0))
        try:
            samples = model.generate(
                support_images, load.num_samples, seed=0, num_inner_steps=load.num_inner_steps
            )
        except ServingError as error:
            return Outcome(time.monotonic() - due, error.code, None)
        return Outcome(time.monotonic() - due, None, samples)

    with concurrent.futures.ThreadPoolExecutor(load.concurrency) as pool:
        outcomes = list(pool.map(send, range(load.num_requests)))
    return _summary(outcomes, time.monotonic() - start)


def _summary(outcomes: list[Outcome], seconds: float) -> dict:
    latencies = [outcome.seconds for outcome in outcomes if outcome.error is None]
    samples = [outcome.samples for outcome in outcomes if outcome.samples is not None]
    percentiles = np.percentile(latencies, [50, 95, 99, 100]).tolist() if latencies else [None] * 4
    return {
        "requests": len(outcomes),
        "seconds": seconds,
        "rate": len(samples) / seconds,
        "errors": dict(collections.Counter(outcome.error for outcome in outcomes if outcome.error)),
        # The same request with the same seed has one answer. Another would mean that requests
        # disturb each other.
        "differing": sum(not np.array_equal(images, samples[0]) for images in samples),
        **dict(zip(("p50", "p95", "p99", "max"), percentiles, strict=True)),
    }
