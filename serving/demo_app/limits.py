"""What the gateway lets a visitor ask for: sizes, rate, how many at once, for how long."""

import asyncio
import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import AsyncIterator, Callable

from serving.pages.refusal import Refusal


@dataclasses.dataclass(frozen=True)
class VisitorLimits:
    """Largest values; a model's own contract may lower the first three further.

    Attributes:
        max_images: drawings in a request. max_samples: images to draw. max_steps: inner steps.
        max_image_bytes: one image file. max_image_side: its pixels along the longer side.
        max_body_bytes: a whole request.
        burst: requests that a client may send at once; per_second: how many more it may send every
            second after that.
        max_running: requests at the model at once. max_queued: requests that wait for it.
        deadline: seconds for a request, waiting included.
    """

    max_images: int = 8
    max_samples: int = 128
    max_steps: int = 200
    max_image_bytes: int = 256 * 2**10
    max_image_side: int = 1024
    max_body_bytes: int = 3 * 2**20
    burst: int = 40
    per_second: float = 2.0
    max_running: int = 2
    max_queued: int = 8
    deadline: float = 60.0


class Rate:
    """A bucket of tokens for each client: a request takes one, time brings them back.

    Buckets that are full again are forgotten, so that memory is bounded by the clients of the last
    seconds.
    """

    def __init__(self, limits: VisitorLimits, clock: Callable[[], float] = time.monotonic):
        self._limits = limits
        self._clock = clock
        self._full_at: collections.OrderedDict[str, float] = collections.OrderedDict()

    def take(self, client: str) -> None:
        """Raises Refusal (429) for a client whose bucket is empty."""
        now, limits = self._clock(), self._limits
        # A list first, since a dictionary must not change while it is read.
        for other in [c for c, full_at in self._full_at.items() if full_at <= now]:
            del self._full_at[other]
        # One number tells all of a bucket: when it would be full again if nothing more were taken.
        full_at = max(self._full_at.get(client, now), now) + 1 / limits.per_second
        too_much = full_at - now - limits.burst / limits.per_second
        # Not 0: the sums of fractions of a second round.
        if too_much > 1e-9:
            wait = math.ceil(too_much)
            raise Refusal(
                429, f"That was a lot of requests in a short time. Try again in {wait} s.", wait
            )
        self._full_at[client] = full_at


class Turns:
    """So many requests run, so many wait in order, the rest is turned away. For one event loop."""

    def __init__(self, limits: VisitorLimits):
        self._limits = limits
        self._places = asyncio.Semaphore(limits.max_running)
        self._present = 0

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the running places. Raises Refusal (503) if too many wait."""
        if self._present >= self._limits.max_running + self._limits.max_queued:
            raise Refusal(
                503,
                "The model is busy with other visitors' drawings. Try again in a few seconds.",
                3,
            )
        self._present += 1
        try:
            async with self._places:
                yield
        finally:
            self._present -= 1

    @property
    def present(self) -> int:
        """Requests that run or wait."""
        return self._present
