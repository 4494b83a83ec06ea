"""The gateway: the addresses below /api, and what the model says when it fails. Nothing drawn is
logged.
"""

import asyncio
import base64
import io
import pathlib
import time

import numpy as np
from aiohttp import web
from PIL import Image

from figr_common import addresses, image_grid
from figr_tf.core.errors import UserError
from serving.demo_app import requests
from serving.demo_app.limits import Rate, Turns, VisitorLimits
from serving.demo_app.link import ClassifierLink, ModelLink
from serving.errors import HTTP_STATUS, ServingError
from serving.pages import site
from serving.pages.refusal import Refusal

PAGE = pathlib.Path(__file__).parent / "page"
# Where it differs from TensorFlow Serving's: 429 would say that this visitor asked too often, and
# it is the model that is full.
_GATEWAY_STATUS = {"RESOURCE_EXHAUSTED": 503, "CANCELLED": 503}
_RETRY_SECONDS = 2


def _as_refusal(error: ServingError) -> Refusal:
    status = _GATEWAY_STATUS.get(error.code) or HTTP_STATUS.get(error.code, 502)
    sentence = error.message[:1].upper() + error.message[1:].rstrip(".") + "."
    return Refusal(status, sentence, _RETRY_SECONDS if status == 503 else None)


def _explain(error: Exception) -> Refusal | None:
    if isinstance(error, ServingError):
        return _as_refusal(error)
    if isinstance(error, TimeoutError):
        return Refusal(504, "The model took too long. Fewer inner steps or samples are faster.")
    return None


class Gateway:
    """The application's state. Methods with `request` are its handlers.

    Args:
        classifier: of the second tab, if there is one.
        public: reachable from other machines, so that any name may stand in the Host header, and
            the model's address is kept from the page.
    """

    def __init__(
        self,
        link: ModelLink,
        limits: VisitorLimits,
        public: bool,
        classifier: ClassifierLink | None = None,
    ):
        self._link = link
        self._classifier = classifier
        self._limits = limits
        self._public = public
        self._rate = Rate(limits)
        self._turns = Turns(limits)

    def application(self) -> web.Application:
        """To be run with `handler_cancellation`: whoever goes away cancels their request."""
        app = site.application(PAGE, self._public, self._limits.max_body_bytes, _explain)
        app.on_cleanup.append(self._close)
        app.router.add_get("/api/model", self.model)
        app.router.add_post("/api/drawing", self.drawing)
        app.router.add_post("/api/generate", self.answer_generate)
        app.router.add_get("/api/classifier", self.classifier)
        app.router.add_post("/api/classify", self.answer_classify)
        return app

    async def model(self, _: web.Request) -> web.Response:
        """What is served now, and what runs; 503 while nothing is."""
        described = await self._link.describe()
        # Which server stands behind the page is nobody's business outside.
        target = None if self._public else self._link.endpoint._asdict()
        return web.json_response(
            described.as_json()
            | {
                "endpoint": target,
                "present": self._turns.present,
                "classifies": self._classifier is not None,
            }
        )

    async def classifier(self, _: web.Request) -> web.Response:
        """What the second tab's classifier is."""
        return web.json_response((await self._the_classifier().describe()).as_json())

    def _the_classifier(self) -> ClassifierLink:
        if self._classifier is None:
            raise Refusal(404, "There is no classifier here: start with --classifier_base_path.")
        return self._classifier

    async def drawing(self, request: web.Request) -> web.Response:
        """A PNG file → {"pixels": base64 of S·S·C bytes}: the drawing in it, see
        `requests.drawing`.
        """
        self._rate.take(request.remote or "")
        if request.content_type != "image/png":
            raise Refusal(400, "Send a PNG file, with Content-Type: image/png.")
        described = await self._link.described()
        data = await request.read()
        pixels = await asyncio.to_thread(requests.drawing, data, described, self._limits)
        return web.json_response({"pixels": base64.b64encode(pixels.tobytes()).decode()})

    async def answer_generate(self, request: web.Request) -> web.Response:
        """Draws: JSON as `requests.parse` says → {"images": [base64 of a PNG, …], "seconds": …}.

        A request that accepts image/png alone gets one picture of all samples.
        """
        body, start = await self._json(request), time.monotonic()
        # The deadline begins before the turn: waiting counts.
        async with asyncio.timeout(self._limits.deadline), self._turns.place():
            described = await self._link.described()
            # Decoding images takes milliseconds, in which the event loop would serve nobody.
            parsed = await asyncio.to_thread(requests.parse, body, described, self._limits)
            samples = await self._link.request_samples(
                parsed, self._limits.deadline - (time.monotonic() - start)
            )
        if request.headers.get("Accept") == "image/png":
            picture = image_grid.result_picture(parsed.support_images, samples)
            return web.Response(body=_png(picture), content_type="image/png")
        files = [base64.b64encode(_png(_as_picture(sample))).decode() for sample in samples]
        return web.json_response({"images": files, "seconds": round(time.monotonic() - start, 3)})

    async def answer_classify(self, request: web.Request) -> web.Response:
        """JSON as `requests.parse_classify` says → {"probabilities": […], "seconds": …}."""
        classifier = self._the_classifier()
        body, start = await self._json(request), time.monotonic()
        async with asyncio.timeout(self._limits.deadline), self._turns.place():
            described = await classifier.described()
            parsed = await asyncio.to_thread(requests.parse_classify, body, described, self._limits)
            left = self._limits.deadline - (time.monotonic() - start)
            probabilities = await classifier.request_probabilities(parsed, left)
        seconds = round(time.monotonic() - start, 3)
        return web.json_response({"probabilities": probabilities.tolist(), "seconds": seconds})

    async def _json(self, request: web.Request) -> bytes:
        """The body of a request that counts."""
        self._rate.take(request.remote or "")
        if request.content_type != "application/json":
            raise Refusal(400, "Send JSON, with Content-Type: application/json.")
        return await request.read()

    async def _close(self, _: web.Application) -> None:
        self._link.close()
        if self._classifier:
            self._classifier.close()


def serve(
    link: ModelLink,
    limits: VisitorLimits,
    host: str,
    port: int,
    classifier: ClassifierLink | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; prints where.

    Raises UserError for an address that cannot be had.
    """
    try:
        listening = site.listen(host, port)
    except site.AddressTakenError as error:
        raise UserError(str(error)) from error
    public = not addresses.is_loopback(host)
    site.serve(Gateway(link, limits, public, classifier).application(), listening, host)


def _as_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
