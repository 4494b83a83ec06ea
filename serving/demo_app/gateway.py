"""The gateway: static page, two addresses below /api, a sentence for whatever goes wrong. Nothing drawn is logged."""

import asyncio
import base64
import io
import ipaddress
import mimetypes
import pathlib
import socket
import time
from collections.abc import Awaitable, Callable

import numpy as np
from absl import logging
from aiohttp import web
from PIL import Image

from figr_images import image_grid
from figr_tf.errors import UserError
from serving.demo_app import requests
from serving.demo_app.limits import Limits, Rate, Refusal, Turns
from serving.demo_app.link import ModelLink
from serving.errors import HTTP_STATUS, ServingError

PAGE = pathlib.Path(__file__).parent / "page"
_SUFFIXES = (".html", ".css", ".js", ".svg")
_GATEWAY_STATUS = {"RESOURCE_EXHAUSTED": 503, "CANCELLED": 503}  # where it differs: the model is full, not the visitor
_RETRY_SECONDS = 2

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _plain(refusal: Refusal) -> web.Response:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return web.json_response({"error": refusal.sentence}, status=refusal.status, headers=headers)


def _as_refusal(error: ServingError) -> Refusal:
    status = _GATEWAY_STATUS.get(error.code) or HTTP_STATUS.get(error.code, 502)
    sentence = error.message[:1].upper() + error.message[1:].rstrip(".") + "."
    return Refusal(status, sentence, _RETRY_SECONDS if status == 503 else None)


@web.middleware
async def _sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as JSON with a sentence; what is unforeseen is logged by the name of its type alone."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _plain(refusal)
    except ServingError as error:
        return _plain(_as_refusal(error))
    except TimeoutError:
        return _plain(Refusal(504, "The model took too long. Fewer inner steps or samples are faster."))
    except web.HTTPRequestEntityTooLarge:
        return _plain(Refusal(413, "The request is too large. Send fewer or smaller drawings."))
    except web.HTTPException as error:
        return _plain(Refusal(error.status, f"{error.reason}."))
    except Exception as error:
        logging.error("%s %s: %s", request.method, request.path, type(error).__name__)
        return _plain(Refusal(500, "Something went wrong here that should not have."))


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


class Gateway:
    """The application's state. Methods with `request` are its handlers.

    Args:
        public: reachable from other machines, so that any name may stand in the Host header, and the model's address
            is kept from the page.
    """

    def __init__(self, link: ModelLink, limits: Limits, public: bool):
        self._link = link
        self._limits = limits
        self._public = public
        self._rate = Rate(limits)
        self._turns = Turns(limits)

    def application(self) -> web.Application:
        """To be run with `handler_cancellation`: a visitor who goes away cancels what runs for them."""
        app = web.Application(
            middlewares=[_sentences, self._same_origin_only], client_max_size=self._limits.max_body_bytes
        )
        app.on_response_prepare.append(_add_headers)
        app.on_cleanup.append(self._close)
        app.router.add_get("/", self.page)
        app.router.add_get("/page/{name}", self.page)
        app.router.add_get("/api/model", self.model)
        app.router.add_post("/api/generate", self.generate)
        return app

    async def page(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", "index.html")
        path = PAGE / name
        if path.suffix not in _SUFFIXES or path.parent != PAGE or not path.is_file():
            raise web.HTTPNotFound(reason="There is no such page")
        kind = mimetypes.types_map.get(path.suffix, "application/octet-stream")
        return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": "no-cache"})

    async def model(self, _: web.Request) -> web.Response:
        """What is served now, and what runs; 503 while nothing is."""
        described = await self._link.describe()
        target = None if self._public else self._link.endpoint._asdict()
        return web.json_response(described.as_json() | {"endpoint": target, "present": self._turns.present})

    async def generate(self, request: web.Request) -> web.Response:
        """JSON as `requests.parse` says → {"images": [base64 of a PNG, …], "seconds": …}, or one picture of them if
        the request accepts image/png only."""
        self._rate.take(request.remote or "")
        if request.content_type != "application/json":
            raise Refusal(400, "Send JSON, with Content-Type: application/json.")
        body = await request.read()
        start = time.monotonic()
        async with asyncio.timeout(self._limits.deadline), self._turns.place():
            described = await self._link.described()
            parsed = await asyncio.to_thread(requests.parse, body, described, self._limits)
            samples = await self._link.generate(parsed, self._limits.deadline - (time.monotonic() - start))
        if request.headers.get("Accept") == "image/png":
            picture = image_grid.result_picture(parsed.support_images, samples)
            return web.Response(body=_png(picture), content_type="image/png")
        files = [base64.b64encode(_png(_as_picture(sample))).decode() for sample in samples]
        return web.json_response({"images": files, "seconds": round(time.monotonic() - start, 3)})

    @web.middleware
    async def _same_origin_only(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Other sites' pages, also those that made their name point here, get nothing from a visitor's browser."""
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            raise Refusal(403, "This is only for the page that is served here.")
        if not self._public and not _is_loopback(request.host):
            raise Refusal(403, "Ask for this page at 127.0.0.1 or localhost.")
        return await handler(request)

    async def _close(self, _: web.Application) -> None:
        self._link.close()


def serve(link: ModelLink, limits: Limits, host: str, port: int) -> None:
    """Serves until SIGINT or SIGTERM; prints where. Raises UserError for an address that cannot be had."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"cannot listen at {host}:{port} ({error.strerror}); choose another with --port.") from error
    public = not _is_loopback(host)
    shown = f"[{host}]" if ":" in host else host
    print(f"the page is at http://{shown}:{listening.getsockname()[1]}/", flush=True)
    web.run_app(
        Gateway(link, limits, public).application(),
        sock=listening,
        print=None,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
    )


def _is_loopback(host: str) -> bool:
    """Of a Host header, with or without a port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _as_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
