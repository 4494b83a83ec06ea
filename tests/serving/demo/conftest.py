"""A real Chromium, if there is one, on the page of a gateway whose model is a fake."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from serving.demo_app import description
from serving.demo_app.limits import VisitorLimits
from tests.browsing import browser, visit  # noqa: F401
from tests.serving import processes
from tests.serving.demo import fakes

SIZE = 32


def fake_model(channels: int = 1, **changes) -> description.Description:
    """32×32, trained on Omniglot."""
    contract = {
        "training": {"dataset": "omniglot"},
        "limits": {"num_inner_steps": {"maximum": 200}},
    } | changes
    return description.describe(
        contract, 1, (SIZE, SIZE, channels), {"num_inner_steps": 10}, VisitorLimits()
    )


@pytest.fixture
def start_gateway():
    """Starts gateways in front of a fake model: start_gateway(channels, **contract's changes)."""
    started = []

    def start(channels: int = 1, **changes) -> fakes.GatewayThread:
        patient = VisitorLimits(burst=1000, deadline=10 * processes.START_TIMEOUT)
        started.append(
            fakes.GatewayThread(fakes.FakeLink(fake_model(channels, **changes)), patient)
        )
        return started[-1]

    yield start
    for gateway in started:
        gateway.close()


@pytest.fixture
def gateway(start_gateway):
    return start_gateway()


@pytest.fixture
def page(visit, gateway):  # noqa: F811
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
def target(stub):
    with processes.start_embedded(stub) as served:
        yield served
