"""A real Chromium, if there is one, on the page of a gateway whose model is a fake."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright import sync_api

from serving.demo_app import description
from serving.demo_app.limits import VisitorLimits
from tests.demo import fakes
from tests.serving import processes, stub_model

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SIZE = 32

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


def fake_model(**changes) -> description.Description:
    """32×32, trained on Omniglot."""
    contract = {
        "training": {"dataset": "omniglot"},
        "limits": {"num_inner_steps": {"maximum": 200}},
    } | changes
    return description.describe(
        contract, 1, (SIZE, SIZE, 1), {"num_inner_steps": 10}, VisitorLimits()
    )


@pytest.fixture
def start_gateway():
    """Starts gateways in front of a fake model: start_gateway(**changes of its contract)."""
    started = []

    def start(**changes) -> fakes.GatewayThread:
        patient = VisitorLimits(burst=1000, deadline=10 * processes.START_TIMEOUT)
        started.append(fakes.GatewayThread(fakes.FakeLink(fake_model(**changes)), patient))
        return started[-1]

    yield start
    for gateway in started:
        gateway.close()


@pytest.fixture
def gateway(start_gateway):
    return start_gateway()


@pytest.fixture
def page(visit, gateway):
    """The page, open and ready."""
    opened = visit(gateway.url)
    opened.locator(".pad").nth(3).wait_for()
    return opened


class Demo(NamedTuple):
    process: subprocess.Popen
    url: str


@contextlib.contextmanager
def start_demo(*flags: str, port: int = 0, module: str = "serving.demo") -> Iterator[Demo]:
    """Runs `serving.demo` until the end of the block; begins when it says where the page is."""
    says = "the page is at "
    with processes.started(module, f"--port={port}", *flags, until=says) as (process, line):
        yield Demo(process, line.removeprefix(says).strip())


@pytest.fixture(scope="session")
def stub(tmp_path_factory):
    """Model base path with the stub model of the serving tests, 16×16."""
    return stub_model.export_first(tmp_path_factory.mktemp("stub"))


@pytest.fixture(scope="session")
def target(stub):
    with processes.start_embedded(stub) as served:
        yield served
