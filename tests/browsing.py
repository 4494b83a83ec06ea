"""A real Chromium, if there is one, and applications in threads for it to visit."""

import asyncio
import os
import shutil
import threading
from collections.abc import Callable

import pytest
from aiohttp import test_utils, web
from playwright import sync_api

from tests.serving import processes

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PATIENCE = 1000 * processes.START_TIMEOUT  # milliseconds for what takes one second or none

sync_api.expect.set_options(timeout=_PATIENCE)


def _executable() -> str | None:
    """Chromium's path, or None where Playwright has one of its own."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    return os.environ.get("CHROMIUM", found)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=_executable(), timeout=_PATIENCE)
        except sync_api.Error:
            pytest.skip(
                "no Chromium here: apt-get install chromium-headless-shell,"
                " or playwright install chromium"
            )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens pages: visit(url, **settings of the browser's context). Script errors, and what the
    Content-Security-Policy stopped, fail the test; `page.faults` has them."""
    contexts, faults = [], []

    def opened(url: str, **settings) -> sync_api.Page:
        contexts.append(
            browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | settings)
        )
        contexts[-1].set_default_timeout(_PATIENCE)
        contexts[-1].grant_permissions(["clipboard-read", "clipboard-write"])
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: faults.append(message.text) if "Policy" in message.text else None,
        )
        page.faults = faults
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


class ApplicationThread:
    """An application in a thread of its own, for a browser in this one.

    Args:
        make: called in that thread, at each start.

    Attributes:
        url: of its page. port: chosen at the first start.
    """

    def __init__(self, make: Callable[[], web.Application]):
        self.port: int | None = None
        self._make = make
        self.start()

    def start(self) -> None:
        """At the same port as before, after `close`."""
        self.loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self.loop.run_until_complete, args=[self._serve()], daemon=True
        )
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = test_utils.TestServer(self._make(), port=self.port)
        async with test_utils.TestClient(server) as client:
            self.url = str(client.make_url("/"))
            self.port = client.port
            self._ready.set()
            await self._end.wait()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
