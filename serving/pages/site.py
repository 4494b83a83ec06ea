"""The server below every page.

It has the files and their headers, knows whose browsers it answers, and a sentence for each
failure.
"""

import mimetypes
import pathlib
import socket
from collections.abc import Awaitable, Callable

from absl import logging
from aiohttp import web

from figr_common import addresses
from serving.pages.refusal import Refusal

SHARED = pathlib.Path(__file__).parent / "page"  # Files that all pages use.
_SUFFIXES = (".html", ".css", ".js", ".svg")

# Scripts and styles of our own files alone: what a visitor draws or types never becomes code.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# What to say of an exception that a handler may raise; None for one that is a fault of our own.
Explain = Callable[[Exception], Refusal | None]


class AddressTakenError(Exception):
    """There is no listening at an address; one line says why and what to do."""


def application(
    folder: pathlib.Path,
    public: bool,
    max_body_bytes: int,
    explain: Explain = lambda error: None,
) -> web.Application:
    """An application that serves a page; its own addresses below /api are still to be added.

    Args:
        folder: of the page's files, index.html among them; `SHARED` has those of all pages.
        public: reachable from other machines, so that any name may stand in the Host header.
    """
    app = web.Application(
        middlewares=[_sentences(explain), _same_origin_only(public)],
        client_max_size=max_body_bytes,
    )

    async def page(request: web.Request) -> web.StreamResponse:
        return _file(folder, request.match_info.get("name", "index.html"))

    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/", page)
    app.router.add_get("/page/{name}", page)
    return app


def listen(host: str, port: int) -> socket.socket:
    """Raises AddressTakenError for an address that cannot be had."""
    try:
        return socket.create_server((host, port), family=addresses.family(host))
    except OSError as error:
        raise AddressTakenError(
            f"cannot listen at {addresses.join(host, port)} ({error.strerror}); choose another with"
            " --port."
        ) from error


def serve(app: web.Application, listening: socket.socket, host: str) -> None:
    """Prints where the page is, and serves it until SIGINT or SIGTERM."""
    print(f"the page is at http://{addresses.join(host, listening.getsockname()[1])}/", flush=True)
    web.run_app(
        app,
        sock=listening,
        print=None,
        # No record of who asked for what.
        access_log=None,
        # A visitor who goes away cancels their request.
        handler_cancellation=True,
        # Seconds that Ctrl-C waits for visitors.
        shutdown_timeout=1.0,
    )


def _file(folder: pathlib.Path, name: str) -> web.FileResponse:
    for place in (folder, SHARED):
        path = place / name
        # A name with a slash or dots would lead out of the folder; such a path has another parent.
        if path.suffix in _SUFFIXES and path.parent == place and path.is_file():
            kind = mimetypes.types_map.get(path.suffix, "application/octet-stream")
            headers = {"Content-Type": kind, "Cache-Control": "no-cache"}
            return web.FileResponse(path, headers=headers)
    raise web.HTTPNotFound(reason="There is no such page")


def _plain(refusal: Refusal) -> web.Response:
    waiting = refusal.retry_after
    headers = {} if waiting is None else {"Retry-After": str(waiting)}
    return web.json_response({"error": refusal.sentence}, status=refusal.status, headers=headers)


def _sentences(explain: Explain):
    @web.middleware
    async def sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every failure as JSON with a sentence; of the unforeseen its type is logged."""
        try:
            return await handler(request)
        except Refusal as refusal:
            return _plain(refusal)
        except web.HTTPRequestEntityTooLarge:
            return _plain(Refusal(413, "The request is too large. Send fewer or smaller drawings."))
        except web.HTTPException as error:
            return _plain(Refusal(error.status, f"{error.reason}."))
        except Exception as error:
            explained = explain(error)
            if explained:
                return _plain(explained)
            # The type alone: an exception's text may hold what somebody sent.
            logging.error("%s %s: %s", request.method, request.path, type(error).__name__)
            return _plain(Refusal(500, "Something went wrong here that should not have."))

    return sentences


def _same_origin_only(public: bool):
    @web.middleware
    async def same_origin_only(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Other sites' pages, also those that made their name point here, get nothing."""
        origin = request.headers.get("Origin")
        # Browsers send Origin with what a page of another site asks for.
        if origin is not None and origin.partition("://")[2] != request.host:
            raise Refusal(403, "This is only for the page that is served here.")
        # A site may make its own name mean 127.0.0.1 (DNS rebinding). Then Host has that name.
        if not public and not _is_loopback(request.host):
            raise Refusal(403, "Ask for this page at 127.0.0.1 or localhost.")
        return await handler(request)

    return same_origin_only


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    # Answers of the model are a visitor's own. Files say themselves how they are cached.
    response.headers.setdefault("Cache-Control", "no-store")


def _is_loopback(host: str) -> bool:
    """Of a Host header, with or without a port."""
    try:
        name, _ = addresses.split(host)
    except ValueError:
        name = host.strip("[]")
    return addresses.is_loopback(name)
