"""A real Chromium, if there is one, on the page of a gateway whose model is a fake."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from serving.demo_app import description
from serving.demo_app.limits import Limits
from tests.conftest import ROOT
from tests.demo import fakes
from tests.serving import processes, stub_model

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SIZE = 32


def _executable() -> str | None:
    """Chromium's path, or None where Playwright has one of its own."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    return os.environ.get("CHROMIUM", found)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests without Playwright: pip install it")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=_executable())
        except sync_api.Error:
            pytest.skip("no Chromium here: apt-get install chromium-headless-shell, or playwright install chromium")
        yield browser
        browser.close()


def fake_model(**changes) -> description.Description:
    """32×32, trained on Omniglot."""
    contract = {"training": {"dataset": "omniglot"}, "limits": {"num_inner_steps": {"maximum": 200}}} | changes
    return description.describe(contract, 1, (SIZE, SIZE, 1), {"num_inner_steps": 10}, Limits())


@pytest.fixture
def gateway():
    served = fakes.GatewayThread(fakes.FakeLink(fake_model()), Limits())
    yield served
    if served.link.hold:
        served.release()
    served.close()


@pytest.fixture
def context(browser):
    made = browser.new_context(viewport={"width": 1280, "height": 1000})
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    yield made
    made.close()


@pytest.fixture
def page(context, gateway):
    """The page, open and ready; a script error fails the test."""
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(gateway.url)
    opened.locator(".pad").nth(3).wait_for()
    yield opened
    assert errors == []


class Demo(NamedTuple):
    process: subprocess.Popen
    url: str


@contextlib.contextmanager
def start_demo(*flags: str, port: int = 0) -> Iterator[Demo]:
    """Runs `serving.demo` until the end of the block; begins when it says where the page is."""
    command = [sys.executable, "-m", "serving.demo", f"--port={port}", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(processes.START_TIMEOUT, process.kill)
    watchdog.start()
    try:
        output = ""
        while not (found := re.search(r"the page is at (\S+)\n", output)):
            line = process.stdout.readline()
            assert line, output
            output += line
        watchdog.cancel()
        yield Demo(process, found[1])
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def stub(tmp_path_factory):
    """Model base path with the stub model of the serving tests, 16×16."""
    base_path = tmp_path_factory.mktemp("stub") / "figr"
    base_path.mkdir()
    stub_model.export(base_path / "1", warm_up=[stub_model.warm_up_request()])
    return base_path


@pytest.fixture(scope="session")
def target(stub):
    with processes.start_embedded(stub) as served:
        yield served
