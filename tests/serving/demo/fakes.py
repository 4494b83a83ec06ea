"""A gateway around a model that does as a test says."""

import asyncio
import base64
import contextlib
import functools
import io
from collections.abc import AsyncIterator

import numpy as np
from aiohttp import test_utils
from PIL import Image

from serving import remote
from serving.demo_app import description, gateway
from serving.demo_app.limits import VisitorLimits
from tests.browsing import ApplicationThread

SIZE = 16
NO_STEPS = 255
LIMITS = VisitorLimits(
    max_image_bytes=4096, max_image_side=100, max_body_bytes=64 * 1024, deadline=30.0
)


def png(shade: int = 200, size: int = SIZE) -> bytes:
    """A file of a grey square with a black stroke."""
    pixels = np.full((size, size), shade, np.uint8)
    pixels[size // 2] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def described(**contract) -> description.Description:
    """Of a model whose contract has at least the usual limit of inner steps."""
    contract = {"limits": {"num_inner_steps": {"maximum": 200}}} | contract
    return description.describe(contract, 1, (SIZE, SIZE, 1), {"num_inner_steps": 10}, LIMITS)


def answer(request) -> np.ndarray:
    samples = request.support_images[:1].repeat(request.num_samples, 0)
    samples[:, 0, 0] = NO_STEPS if request.num_inner_steps is None else request.num_inner_steps
    samples[:, 0, 1] = request.seed % 256
    samples[:, 0, 2, 0] = np.arange(request.num_samples)
    return samples


class FakeLink:
    """Answers with the first drawing, `num_samples` times; in a corner of each, the steps, the seed
    and its number.

    Attributes:
        asked: all requests. hold: if set, requests wait for it. error: raised if set. cancelled:
            set by a request that was cancelled while it waited. started: set by one that waits.
            num_cancelled: how many were.
    """

    def __init__(self, model: description.Description | None = None):
        self.endpoint = remote.Endpoint("127.0.0.1:1")
        self.model = model or described()
        self.asked: list = []
        self.hold: asyncio.Event | None = None
        self.started, self.cancelled = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        self.num_cancelled = 0

    async def describe(self):
        if self.error:
            raise self.error
        return self.model

    described = describe

    async def request_samples(self, request, seconds):
        await self._asked(request)
        return answer(request)

    async def _asked(self, request):
        self.asked.append(request)
        if self.hold:
            self.started.set()
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                self.num_cancelled += 1
                raise

    def close(self):
        pass


class FakeClassifier(FakeLink):
    """Takes a drawing for the shape with the most equal pixels, and is nine tenths sure of it."""

    def __init__(self, model: description.ClassifierDescription | None = None):
        super().__init__()
        self.model = model or description.describe_classifier(
            {"limits": {"num_classes": {"maximum": 3}}}, 1, (SIZE, SIZE, 1), LIMITS
        )

    async def request_probabilities(self, request, seconds):
        await self._asked(request)
        different = np.abs(request.support_images.astype(int) - request.query_image).sum((1, 2, 3))
        probabilities = np.full(len(different), 0.1 / (len(different) - 1), np.float32)
        probabilities[different.argmin()] = 0.9
        return probabilities


@contextlib.asynccontextmanager
async def running(
    link: FakeLink,
    limits: VisitorLimits = LIMITS,
    public: bool = False,
    classifier: FakeClassifier | None = None,
) -> AsyncIterator[test_utils.TestClient]:
    served = gateway.Gateway(link, limits, public, classifier)
    server = test_utils.TestServer(served.application())
    async with test_utils.TestClient(server) as client:
        yield client


class GatewayThread(ApplicationThread):
    """A gateway with a FakeLink.

    Attributes:
        link, classifier: what it asks.
    """

    def __init__(
        self,
        link: FakeLink,
        limits: VisitorLimits = LIMITS,
        classifier: FakeClassifier | None = None,
    ):
        self.link = link
        self.classifier = classifier
        super().__init__(lambda: gateway.Gateway(link, limits, False, classifier).application())

    def hold(self) -> None:
        """Requests wait from now on."""
        self.link.hold = asyncio.Event()

    def release(self) -> None:
        event, self.link.hold = self.link.hold, None
        self.loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        if self.link.hold:
            self.release()
        super().close()


def body(count: int = 2, **fields) -> dict:
    return {"images": [encoded(png())] * count, "num_samples": 3, "seed": 7} | fields


def asynchronous(test):
    """A coroutine as a test."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run
